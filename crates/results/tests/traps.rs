//! Traps that no sample shows: several clients in one output, documents of old versions, text around them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use iperf_results::{Direction, ReadOptions, Record, Tool, read_bytes};

fn read(text: &str) -> Vec<Record> {
    read_bytes("t", text.as_bytes(), &ReadOptions::default()).unwrap()
}

fn throughputs(text: &str) -> Vec<f64> {
    read(text)
        .iter()
        .map(|record| record.get("throughput").unwrap())
        .collect()
}

#[test]
fn clients_one_after_the_other_are_not_added_up_in_text() {
    let client = |rate: u32| {
        format!(
            "[  1] local a port 5001 connected with b port {rate}\n[ ID] Interval       Transfer     Bandwidth\n\
             [  1] 0.0000-1.0000 sec   1.00 GBytes  {rate} Mbits/sec\n\
             [  1] 1.0000-2.0000 sec   1.00 GBytes  {rate} Mbits/sec\n\
             [  1] 0.0000-2.0000 sec   2.00 GBytes  {rate} Mbits/sec\n"
        )
    };
    let text = format!(
        "Server listening on TCP port 5001\n{}{}",
        client(100),
        client(200)
    );
    assert_eq!(throughputs(&text), [1e8, 2e8]);
    assert_eq!(read(&text)[1].samples.len(), 2);
}

#[test]
fn clients_one_after_the_other_are_not_added_up_in_csv_and_streams_at_once_are() {
    let row = |stamp: &str, port: u32, id: u32, rate: u64| {
        format!("20261125{stamp},a,{port},b,5001,{id},0.0-2.0,1000,{rate}\n")
    };
    let once = format!("{}{}", row("100002", 1, 1, 100), row("100002", 2, 2, 200));
    assert_eq!(throughputs(&once), [300.0]);
    let later = format!("{}{}", row("100002", 1, 1, 100), row("100010", 2, 2, 200));
    assert_eq!(throughputs(&later), [100.0, 200.0]);
}

#[test]
fn udp_before_3_11_has_one_sum_of_what_was_sent_and_the_share_that_was_lost() {
    let text = r#"{"start": {"version": "iperf 3.9", "connecting_to": {"host": "h", "port": 1},
        "test_start": {"protocol": "UDP", "num_streams": 1, "blksize": 1448}}, "intervals": [],
        "end": {"sum": {"start": 0, "end": 2, "seconds": 2, "bytes": 1000000, "bits_per_second": 4000000,
        "jitter_ms": 0.5, "lost_packets": 25, "packets": 100, "lost_percent": 25}}}"#;
    let record = &read(text)[0];
    assert_eq!(
        (record.get("throughput"), record.get("throughput.sent")),
        (Some(3e6), Some(4e6))
    );
    assert_eq!(
        (record.get("loss"), record.get("jitter")),
        (Some(0.25), Some(0.0005))
    );
}

#[test]
fn documents_lines_and_text_may_follow_each_other() {
    let document = |rate: u64| {
        format!(
            r#"{{"start": {{"version": "iperf 3.17"}}, "intervals": [],
            "end": {{"sum_received": {{"start": 0, "end": 1, "seconds": 1, "bytes": {rate}, "bits_per_second": 0}}}}}}"#
        )
    };
    let lines = "{\"event\":\"start\",\"data\":{\"version\":\"riperf3 0.8.0\"}}\n\
                 {\"event\":\"end\",\"data\":{\"sum_received\":{\"start\":0,\"end\":1,\"seconds\":1,\"bytes\":5}}}\n";
    let text = format!(
        "warning: this is text\n{}\nand this\n{}{lines}",
        document(1),
        document(2)
    );
    let records = read(&text);
    let rates: Vec<_> = records
        .iter()
        .map(|record| record.get("throughput").unwrap())
        .collect();
    assert_eq!(rates, [8.0, 16.0, 40.0]);
    assert_eq!(records[2].tool, Tool::Riperf3);
    assert_eq!((records[0].source.line, records[1].source.line), (2, 5));
}

#[test]
fn a_failed_test_among_good_ones_is_named_by_its_line() {
    let text = "{\"start\":{},\"end\":{\"sum_received\":{\"end\":1,\"bytes\":1}}}\n\n{\"start\":{},\"end\":{},\"error\":\"no route\"}";
    let error = read_bytes("t", text.as_bytes(), &ReadOptions::default())
        .unwrap_err()
        .to_string();
    assert_eq!(error, "t:3: refused: the run failed: no route");
}

#[test]
fn the_environment_of_a_document_is_read_and_names_of_hosts_are_not() {
    let text = r#"{"start": {"version": "iperf 3.22 (iperf-rs 0.1.0)", "system_info": "Linux secret 6.1.0 #1 SMP x86_64",
        "environment": {"cpu": "X", "route": {"mtu": 1500, "offloads": null}}, "pair": 3}, "intervals": [],
        "end": {"sum_received": {"end": 1, "bytes": 1}}}"#;
    let record = &read(text)[0];
    let facts: Vec<_> = record
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        facts,
        [
            "cpu=X",
            "kernel=Linux 6.1.0",
            "machine=x86_64",
            "route.mtu=1500"
        ]
    );
    assert_eq!((record.pair, record.tool), (Some(3), Tool::Iperf));
}

#[test]
fn a_bidirectional_test_has_a_throughput_a_direction() {
    let text = r#"{"start": {"version": "iperf 3.22", "connecting_to": {"host": "h", "port": 1},
        "test_start": {"protocol": "TCP", "bidir": 1, "num_streams": 1}}, "intervals": [{"streams": [],
        "sum": {"start": 0, "end": 1, "bytes": 1, "bits_per_second": 8, "sender": true},
        "sum_bidir_reverse": {"start": 0, "end": 1, "bytes": 2, "bits_per_second": 16, "sender": false}}],
        "end": {"sum_received": {"end": 1, "bytes": 1}, "sum_received_bidir_reverse": {"end": 1, "bytes": 2}}}"#;
    let record = &read(text)[0];
    assert_eq!(record.parameters.direction, Some(Direction::Bidirectional));
    assert_eq!(
        (record.get("throughput"), record.get("throughput.reverse")),
        (Some(8.0), Some(16.0))
    );
    assert_eq!(
        record
            .samples
            .iter()
            .map(|sample| sample.reverse)
            .collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn nothing_measured_is_no_figure() {
    let text = "OMNI Send TEST from a () port 0 AF_INET to b () port 0 AF_INET\nTHROUGHPUT=100\n\
                THROUGHPUT_UNITS=10^6bits/s\nLOCAL_SD=-1\nSD_UNITS=usec/KB\nLOCAL_TRANSPORT_RETRANS=-1\nP99_LATENCY=-nan\n";
    let record = &read(text)[0];
    assert_eq!(record.get("throughput"), Some(1e8));
    for metric in ["cpu.sender", "retransmits", "latency.call.p99"] {
        assert_eq!(record.get(metric), None, "{metric}");
    }
}

#[test]
fn streams_of_iperf3_have_a_fairness_for_each_direction() {
    let half = |sender: bool, bytes: u64| {
        format!(
            r#"{{"sender": {{"bytes": 9, "sender": {sender}}}, "receiver": {{"bytes": {bytes}, "sender": {sender}}}}}"#
        )
    };
    let sum = r#"{"start": 0, "end": 1, "seconds": 1, "bytes": 8, "bits_per_second": 64}"#;
    let document = |streams: &[String], bidir: u8| {
        let streams = streams.join(",");
        let reverse =
            format!(r#", "sum_sent_bidir_reverse": {sum}, "sum_received_bidir_reverse": {sum}"#);
        let reverse = if bidir == 1 { reverse.as_str() } else { "" };
        format!(
            r#"{{"start": {{"version": "iperf 3.22", "connecting_to": {{"host": "h", "port": 1}}, "test_start": {{"protocol":
            "TCP", "num_streams": 2, "blksize": 1448, "bidir": {bidir}}}}}, "intervals": [], "end": {{"streams": [{streams}],
            "sum_sent": {sum}, "sum_received": {sum}{reverse}}}}}"#
        )
    };
    let get = |text: &str| {
        let record = &read(text)[0];
        (record.get("fairness"), record.get("fairness.reverse"))
    };
    let two = [half(true, 2), half(true, 6)];
    assert_eq!(get(&document(&two, 0)), (Some(0.8), None));
    let both = [&two[..], &[half(false, 4), half(false, 4)]].concat();
    assert_eq!(get(&document(&both, 1)), (Some(0.8), Some(1.0)));
    assert_eq!(get(&document(&two[..1], 0)), (None, None), "one stream");
    // Our own documents have the figure themselves.
    let own = document(&two, 0).replacen(
        r#""sum_received": {"#,
        r#""sum_received": {"jain_index": 0.75, "#,
        1,
    );
    assert_eq!(get(&own), (Some(0.75), None));
}
