//! What an end makes of its peer's results, and what it writes.

use iperf_model::{Detail, Role, ServerOutput, TestConfig, Transport};
use iperf_proto::{ParseError, Results};
use serde_json::{Value, json};

use crate::pair::totals;

fn full() -> Value {
    json!({
        "cpu_util_total": 1.5, "cpu_util_user": 1, "cpu_util_system": 0.5,
        "sender_has_retransmits": -1, "congestion_used": "bbr",
        "streams": [{
            "id": 1, "bytes": 1000, "retransmits": -1, "jitter": 0.001, "errors": 3,
            "omitted_errors": 1, "packets": 50, "omitted_packets": 10,
            "start_time": 0, "end_time": 1.25,
        }],
    })
}

fn parse(value: &Value) -> Result<Results, ParseError> {
    Results::parse(value.to_string().as_bytes())
}

#[test]
fn every_member_is_read() {
    let results = parse(&full()).unwrap();
    assert!((results.cpu.total - 1.5).abs() < f64::EPSILON);
    assert!((results.cpu.user - 1.0).abs() < f64::EPSILON);
    assert!((results.cpu.system - 0.5).abs() < f64::EPSILON);
    assert_eq!(results.sender_has_retransmits, -1);
    assert_eq!(results.congestion_used.as_deref(), Some("bbr"));
    let stream = &results.streams[0];
    assert_eq!((stream.id, stream.bytes, stream.retransmits), (1, 1000, -1));
    assert_eq!((stream.errors, stream.omitted_errors), (3, Some(1)));
    assert_eq!((stream.packets, stream.omitted_packets), (50, Some(10)));
    assert!((stream.jitter - 0.001).abs() < f64::EPSILON);
    assert_eq!(
        (stream.start_time, stream.end_time),
        (Some(0.0), Some(1.25))
    );
}

#[test]
fn mandatory_members_are_missed() {
    for key in [
        "cpu_util_total",
        "cpu_util_user",
        "cpu_util_system",
        "sender_has_retransmits",
        "streams",
    ] {
        let mut value = full();
        value.as_object_mut().unwrap().shift_remove(key);
        assert_eq!(parse(&value), Err(ParseError::Missing(key)));
        value[key] = json!("text");
        assert_eq!(parse(&value), Err(ParseError::Missing(key)), "wrong type");
    }
    for key in ["id", "bytes", "retransmits", "jitter", "errors", "packets"] {
        let mut value = full();
        let stream = value["streams"][0].as_object_mut().unwrap();
        stream.shift_remove(key);
        assert_eq!(parse(&value), Err(ParseError::Missing(key)));
    }
}

#[test]
fn omitted_counters_are_both_present_or_both_absent() {
    for (first, second) in [
        ("omitted_errors", "omitted_packets"),
        ("omitted_packets", "omitted_errors"),
    ] {
        let mut value = full();
        let stream = value["streams"][0].as_object_mut().unwrap();
        stream.shift_remove(first);
        assert_eq!(parse(&value), Err(ParseError::HalfOmitted));
        let stream = value["streams"][0].as_object_mut().unwrap();
        stream.shift_remove(second);
        let results = parse(&value).unwrap();
        assert_eq!(results.streams[0].omitted_packets, None);
    }
}

#[test]
fn times_and_congestion_may_be_absent() {
    let mut value = full();
    value
        .as_object_mut()
        .unwrap()
        .shift_remove("congestion_used");
    for key in ["start_time", "end_time"] {
        value["streams"][0]
            .as_object_mut()
            .unwrap()
            .shift_remove(key);
    }
    let results = parse(&value).unwrap();
    assert_eq!(results.congestion_used, None);
    assert_eq!(results.streams[0].end_time, None);
    assert_eq!(Results::parse(results.to_json().as_bytes()), Ok(results));
}

#[test]
fn minus_one_of_3_12_is_minus_one() {
    let text = full()
        .to_string()
        .replace("\"retransmits\":-1", "\"retransmits\":18446744073709551615")
        .replace("_retransmits\":-1", "_retransmits\":18446744073709551615")
        .replace("\"errors\":3", "\"errors\":1.8446744073709552e19");
    let results = Results::parse(text.as_bytes()).unwrap();
    assert_eq!(results.sender_has_retransmits, -1);
    assert_eq!(results.streams[0].retransmits, -1);
    assert_eq!(results.streams[0].errors, -1);
}

#[test]
fn negative_bytes_are_none() {
    let text = full().to_string().replace("\"bytes\":1000", "\"bytes\":-5");
    assert_eq!(Results::parse(text.as_bytes()).unwrap().streams[0].bytes, 0);
}

#[test]
fn server_output_is_text_or_the_unchanged_document() {
    let document = "{\"a\":\t[1.50, 1e2], \"a\": \"\\u00e4\"}";
    let text = full().to_string();
    let with = |member: &str| {
        let text = text.replacen('{', &format!("{{{member},"), 1);
        Results::parse(text.as_bytes()).unwrap().server_output
    };
    assert_eq!(
        with(&format!("\"server_output_json\": {document} ")),
        Some(ServerOutput::Json(document.to_owned()))
    );
    assert_eq!(
        with("\"server_output_text\":\"a\\nb\""),
        Some(ServerOutput::Text("a\nb".to_owned()))
    );
    assert_eq!(with("\"server_output_json\":\"{}\""), None);
    assert_eq!(with("\"server_output_text\":{}"), None);
    // More values than any document has would take forty times the memory.
    let dense = format!("{{\"a\":[{}0]}}", "0,".repeat(5000));
    assert_eq!(
        with(&format!("\"server_output_json\":{dense}")),
        Some(ServerOutput::Text(dense))
    );
}

#[test]
fn a_document_that_is_not_an_object_is_sent_as_text() {
    let test = TestConfig::new(Transport::Tcp);
    for broken in ["[1]", "{\"a\":", "", "5"] {
        let output = ServerOutput::Json(broken.to_owned());
        let results = Results::from_totals(&totals(&test, false), &test, Some(output));
        let read = Results::parse(results.to_json().as_bytes()).unwrap();
        assert_eq!(
            read.server_output,
            Some(ServerOutput::Text(broken.to_owned()))
        );
    }
}

#[test]
fn only_an_end_that_counts_retransmits_reports_them() {
    let has = |transport, reverse: bool| {
        let mut test = TestConfig::new(transport);
        if reverse {
            test.direction = iperf_model::Direction::Reverse;
        }
        let results = Results::from_totals(&totals(&test, true), &test, None);
        (
            results.sender_has_retransmits,
            results.streams[0].retransmits,
        )
    };
    assert_eq!(has(Transport::Tcp, false), (1, 7));
    assert_eq!(has(Transport::Tcp, true), (-1, -1));
    assert_eq!(has(Transport::Udp, false), (0, -1));
    assert_eq!(has(Transport::Vsock, false), (0, -1));
    assert_eq!(has(Transport::Vsock, true), (-1, -1));
}

#[test]
fn each_side_reports_only_what_it_can_know() {
    let reported = |transport, role| {
        let test = TestConfig::new(transport);
        let mut totals = totals(&test, true);
        totals.streams[0].role = role;
        if let Detail::Datagrams(datagrams) = &mut totals.streams[0].detail {
            datagrams.jitter = 0.5;
        }
        let results = Results::from_totals(&totals, &test, None);
        let stream = &results.streams[0];
        (stream.jitter > 0.0, stream.retransmits)
    };
    assert_eq!(reported(Transport::Tcp, Role::Sender), (false, 7));
    assert_eq!(reported(Transport::Tcp, Role::Receiver), (false, -1));
    assert_eq!(reported(Transport::Udp, Role::Sender), (false, -1));
    assert_eq!(reported(Transport::Udp, Role::Receiver), (true, -1));
}

#[test]
fn the_wire_has_the_order_and_the_numbers_of_3_22() {
    let test = TestConfig::new(Transport::Tcp);
    let results = Results::from_totals(&totals(&test, true), &test, None);
    assert_eq!(
        results.to_json(),
        r#"{"cpu_util_total":3.5,"cpu_util_user":1.25,"cpu_util_system":2.25,"sender_has_retransmits":1,"congestion_used":"cubic","streams":[{"id":1,"bytes":1000000,"retransmits":7,"jitter":0,"errors":0,"omitted_errors":0,"packets":0,"omitted_packets":0,"start_time":0,"end_time":10.000123}]}"#
    );
}

#[test]
fn congestion_is_reported_for_tcp_only() {
    for (transport, reported) in [
        (Transport::Tcp, true),
        (Transport::Mptcp, true),
        (Transport::Udp, false),
        (Transport::Sctp, false),
        (Transport::Vsock, false),
    ] {
        let test = TestConfig::new(transport);
        let mut totals = totals(&test, true);
        totals.congestion = Some("x".to_owned());
        let results = Results::from_totals(&totals, &test, None);
        assert_eq!(results.congestion_used.is_some(), reported);
    }
}
