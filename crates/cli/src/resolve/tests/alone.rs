//! Options one by one.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use iperf_model::{
    BitRate, Concurrency, Direction, Family, Keepalive, Limit, LocalOptions, Pacing, Payload,
    Placement, RateLimit, ReceiveMode, SendMode, SocketOptions, TestConfig, Transport, ZeroCopy,
};

use super::{client, invocation, refused, server, test};

#[test]
fn without_options_the_test_is_iperf3s() {
    let config = client("");
    assert_eq!(config.test, TestConfig::new(Transport::Tcp));
    assert_eq!(config.endpoint.name().host, "host");
    assert_eq!(config.endpoint.name().port, 5201);
    assert!(!config.block_from_mss);
    assert_eq!(config.local, LocalOptions::default());
    assert_eq!(
        (config.cport, config.connect_timeout, config.credentials),
        (None, None, None)
    );

    let config = server("");
    assert_eq!(config.listen.port(), 5201);
    assert_eq!(config.local, LocalOptions::default());
    assert!(!config.one_off && config.auth.is_none() && config.rate_limit.is_none());
}

#[test]
fn a_client_reads_what_travels() {
    let line = "-P 4 --bidir -O 3 -l 64K -w 1M -M 1400 -N -S 0x20 -L 0xff -C reno -b 1.5G/10 \
                --fq-rate 2M --pacing-timer 2k --repeating-payload -Z --skip-rx-copy -A 1,2 -T name \
                --extra-data more --get-server-output --dont-fragment --udp-counters-64bit --gsro";
    let config = client(line);
    let mut expected = TestConfig::new(Transport::Tcp);
    expected.streams = 4;
    expected.direction = Direction::Bidirectional;
    expected.omit = 3;
    expected.block = 65_536;
    expected.socket = SocketOptions {
        window: Some(1 << 20),
        mss: Some(1400),
        no_delay: true,
        tos: 32,
        flow_label: Some(255),
        congestion: Some("reno".to_owned()),
        dont_fragment: true,
    };
    expected.pacing = Pacing {
        rate: Some(BitRate::new(1_500_000_000)),
        burst: Some(10),
        fq_rate: Some(BitRate::new(2_000_000)),
        timer_us: 2048,
    };
    expected.payload = Payload::Repeating;
    expected.zerocopy = ZeroCopy {
        send: SendMode::Auto,
        receive: ReceiveMode::Trunc,
    };
    expected.server_affinity = Some(Placement::on(2));
    expected.title = Some("name".to_owned());
    expected.extra_data = Some("more".to_owned());
    expected.get_server_output = true;
    expected.udp.counters_64bit = true;
    expected.udp.gsro = true;
    assert_eq!(config.test, expected);
    assert_eq!(config.local.affinity, Some(Placement::on(1)));
}

#[test]
fn a_device_may_follow_an_address() {
    let config = client("-c far%eth0 -B 10.0.0.1");
    assert_eq!(config.endpoint.name().host, "far");
    assert_eq!(config.local.bind.as_deref(), Some("10.0.0.1"));
    assert_eq!(config.local.bind_dev.as_deref(), Some("eth0"));

    let config = client("-c fe80::1%eth0 -B fe80::2%eth0");
    assert_eq!(config.endpoint.name().host, "fe80::1%eth0");
    assert_eq!(config.local.bind.as_deref(), Some("fe80::2%eth0"));
    assert_eq!(config.local.bind_dev, None);

    let config = server("-B ::1%lo -6");
    assert_eq!(config.local.bind.as_deref(), Some("::1"));
    assert_eq!(config.local.bind_dev.as_deref(), Some("lo"));
    assert_eq!(config.local.family, Family::V6);
    assert_eq!(
        server("-B 1.2.3.4%x --bind-dev y")
            .local
            .bind_dev
            .as_deref(),
        Some("y")
    );
    assert_eq!(client("-c %lo").endpoint.name().host, "%lo");
}

#[test]
fn times_have_their_units() {
    let config =
        client("-i 0.5 --connect-timeout 1k --snd-timeout 30 --rcv-timeout 500 -R --cport 7");
    assert_eq!(config.local.interval, Some(Duration::from_millis(500)));
    assert_eq!(config.connect_timeout, Some(Duration::from_millis(1024)));
    assert_eq!(config.local.snd_timeout, Some(Duration::from_millis(30)));
    assert_eq!(config.local.rcv_timeout, Duration::from_millis(500));
    assert_eq!(config.cport, Some(7));
    let config = client("-i 0 --connect-timeout 0 --snd-timeout 0");
    assert_eq!(config.local.interval, None);
    assert_eq!(
        (config.connect_timeout, config.local.snd_timeout),
        (None, None)
    );
}

#[test]
fn a_server_reads_its_limits() {
    let line = "-D -1 -p 7 --idle-timeout 9 --server-bitrate-limit 2M/0.5 --server-max-duration 60 -X a \
                --rcv-timeout 200";
    let config = server(line);
    assert_eq!(
        (config.listen.port(), config.one_off, config.max_duration),
        (7, true, Some(60))
    );
    assert_eq!(config.idle_timeout, Some(Duration::from_secs(9)));
    let limit = RateLimit {
        rate: BitRate::new(2_000_000),
        window: Duration::from_millis(500),
    };
    assert_eq!(config.rate_limit, Some(limit));
    assert_eq!(config.local.sctp.bind, ["a"]);
    assert!(invocation(&format!("-s {line}")).process.daemon);

    let config = server("--server-bitrate-limit 1k --server-max-duration 0");
    assert_eq!(
        config.rate_limit.map(|limit| limit.window),
        Some(Duration::from_secs(5))
    );
    assert_eq!(config.max_duration, None);
    assert_eq!(server("--server-bitrate-limit 0/3").rate_limit, None);
    let max_duration = refused("-s --server-max-duration 86401");
    assert_eq!(
        max_duration,
        "test duration valid values are 0 to 86400 seconds"
    );
}

#[test]
fn either_end_may_forbid_offload() {
    assert!(client("-u --no-gso").local.no_gso);
    assert!(server("--no-gso").local.no_gso);
    assert!(!client("-u").local.no_gso);
}

#[test]
fn keepalive_has_up_to_three_parts() {
    let keepalive = |idle, interval, count| {
        Some(Keepalive {
            idle,
            interval,
            count,
        })
    };
    for (line, expected) in [
        ("", None),
        ("--cntl-ka", keepalive(None, None, None)),
        ("--cntl-ka=", keepalive(None, None, None)),
        ("--cntl-ka=30", keepalive(Some(30), None, None)),
        ("--cntl-ka=30/2", keepalive(Some(30), Some(2), None)),
        ("--cntl-ka=30/2/5", keepalive(Some(30), Some(2), Some(5))),
        ("--cntl-ka=//5", keepalive(None, None, Some(5))),
        ("--cntl-ka=/2/5", keepalive(None, Some(2), Some(5))),
        ("--cntl-ka=1//5", keepalive(Some(1), None, Some(5))),
        ("--cntl-ka=0/0/0", keepalive(None, None, None)),
    ] {
        assert_eq!(client(line).local.keepalive, expected, "{line}");
    }
    let retry = "control connection Keepalive period should be larger than the full retry period (interval * count)";
    assert_eq!(refused("-s --cntl-ka=10/2/5"), retry);
    for line in ["-s --cntl-ka=-1", "-s --cntl-ka=1/2/128"] {
        assert!(refused(line).contains(" for --cntl-ka: must be "), "{line}");
    }
}

#[test]
fn dscp_is_the_upper_part_of_the_type_of_service() {
    for (line, tos) in [
        ("--dscp ef", 184),
        ("--dscp AF11", 40),
        ("--dscp 63", 252),
        ("--dscp 0x3f", 252),
        ("--dscp 010", 32),
        ("-S 1 --dscp cs1", 32),
        ("--dscp cs1 -S 1", 1),
    ] {
        assert_eq!(test(line).socket.tos, tos, "{line}");
    }
    for line in ["-c h --dscp 3x", "-c h --dscp -1", "-c h --dscp ef1"] {
        assert!(refused(line).starts_with("bad DSCP value"), "{line}");
    }
}

#[test]
fn affinity_has_a_part_for_each_end() {
    assert_eq!(client("-A 0x10").local.affinity, Some(Placement::on(16)));
    assert_eq!(server("-A 3").local.affinity, Some(Placement::on(3)));
    assert_eq!(
        refused("-s -A 3,4"),
        "some option you are trying to set is client only"
    );
    for line in ["-c h -A 1,1025", "-c h -A ,1", "-c h -A x"] {
        assert_eq!(refused(line), "unable to set CPU affinity", "{line}");
    }
}

#[test]
fn affinity_may_name_several_cpus_for_each_end() {
    for (line, own, servers) in [
        ("-A 0-3", "0-3", None),
        ("-A 0+2-5", "0+2-5", None),
        ("-A 0-3,4-7", "0-3", Some("4-7")),
        // As in iperf3, what follows a comma is the server's.
        ("-A 0,2-5", "0", Some("2-5")),
        ("-A incoming", "incoming", None),
        ("-A 1,incoming", "1", Some("incoming")),
    ] {
        let config = client(line);
        assert_eq!(config.local.affinity, own.parse().ok(), "{line}");
        let servers = servers.map(|text| text.parse().unwrap());
        assert_eq!(config.test.server_affinity, servers, "{line}");
        assert!(invocation(&format!("-c h {line}")).warnings.is_empty());
    }
    assert_eq!(server("-A 0-1").local.affinity, "0-1".parse().ok());
    for (value, part) in [
        ("3-1", "3-1"),
        ("0-1025", "0-1025"),
        ("0,1-", "0,1-"),
        ("0++1", "0++1"),
    ] {
        let message = refused(&format!("-c h -A {value}"));
        assert!(
            message.contains(part) && message.contains("0-3 or 0+2-5"),
            "{message}"
        );
    }
}

/// What a command line means is asserted beside the warning; the rest of the line is what iperf3's users and the test
/// suites of other programs write.
#[test]
fn values_are_read_as_far_as_they_go_and_a_warning_states_what_was_understood() {
    for (line, warnings) in [
        ("-A 2/2", &["-A/--affinity: '2/2' is read as 2"][..]),
        ("-A 0/0,1", &["-A/--affinity: '0/0' is read as 0"]),
        ("-A 1,", &["-A/--affinity: '' is read as 0"]),
        (
            "-f Mbits",
            &["-f/--format: 'Mbits' is read as M, which is MBytes/sec"],
        ),
        (
            "-f MB",
            &["-f/--format: 'MB' is read as M, which is MBytes/sec"],
        ),
        (
            "-f gigabits",
            &["-f/--format: 'gigabits' is read as g, which is Gbits/sec"],
        ),
        (
            "-t inf",
            &["-t/--time: 'inf' is read as 0, which is without end"],
        ),
        ("-t 10s", &["-t/--time: '10s' is read as 10"]),
        ("-P 2x", &["-P/--parallel: '2x' is read as 2"]),
        ("-i x", &["-i/--interval: 'x' is read as 0"]),
        ("-n 0.5", &["-n/--bytes: '0.5' is read as 0"]),
        ("-n 10MB", &["-n/--bytes: '10MB' is read as 10485760"]),
        (
            "-b 10Mbit/5x",
            &[
                "-b/--bitrate: '10Mbit' is read as 10000000",
                "-b/--bitrate: '5x' is read as 5",
            ],
        ),
        ("-M 1400x", &["-M/--set-mss: '1400x' is read as 1400"]),
        ("-p 5201x", &["-p/--port: '5201x' is read as 5201"]),
        ("--cport 7x", &["--cport: '7x' is read as 7"]),
        ("--debug=9", &["--debug: '9' is read as 4"]),
        ("--debug=x", &["--debug: 'x' is read as 0"]),
        ("--cntl-ka=5m/1/3", &["--cntl-ka: '5m' is read as 5"]),
        ("--cntl-ka=1/x", &["--cntl-ka: 'x' is read as 0"]),
        (
            "--nstreams 65536",
            &["--nstreams: '65536' is read as 65535, the maximum of SCTP"],
        ),
        ("-t 5 -i 0.5 -A 1,2 -f m -b 1.5G/10 -n 0 -l 1K -w 0", &[]),
    ] {
        assert_eq!(
            invocation(&format!("-c host {line}")).warnings,
            warnings,
            "{line}"
        );
    }
    assert_eq!(test("-t inf").limit, Limit::Endless);
    assert_eq!(test("-t 10s").limit, Limit::Seconds(10));
    assert_eq!(test("-t 5 -n 0.5").limit, Limit::Seconds(5));
    assert_eq!(test("-P 2x").streams, 2);
    assert_eq!(test("-A 0/0,1").server_affinity, Some(Placement::on(1)));
    assert_eq!(test("-b 10Mbit/5x").pacing.burst, Some(5));
    assert_eq!(client("-A 2/2").local.affinity, Some(Placement::on(2)));
    assert_eq!(client("--nstreams 65536").local.sctp.streams, Some(65_535));
    assert_eq!(
        client("--cntl-ka=5m/1/3")
            .local
            .keepalive
            .and_then(|ka| ka.idle),
        Some(5)
    );
    assert_eq!(invocation("-c h -f Mbits").output.format, Some('M'));
}

#[test]
fn a_flood_an_endless_test_or_a_negative_amount_has_to_be_meant() {
    for line in [
        "-t abc",
        "-t 0.5",
        "-t =5",
        "-n -5",
        "-k -1",
        "-b -5M",
        "-b 0.5",
        "-b inf",
        "-b nan",
        "-n inf",
        "--fq-rate -1",
        "--fq-rate 0.1",
        "--pacing-timer -5",
        "--connect-timeout -100",
        "--nstreams -1",
    ] {
        let refusal = refused(&format!("-c host {line}"));
        assert!(refusal.starts_with("invalid value '"), "{line}: {refusal}");
    }
    for line in [
        "--server-bitrate-limit 0.5",
        "--server-bitrate-limit -1",
        "--server-max-duration x",
    ] {
        let refusal = refused(&format!("-s {line}"));
        assert!(refusal.starts_with("invalid value '"), "{line}: {refusal}");
    }
}

#[test]
fn output_options_are_kept_apart() {
    let output = invocation(
        "-s -V -f M --timestamps=%F --forceflush --logfile log --debug=2 -I pid --json-stream-full-output",
    );
    assert_eq!(output.process.pidfile, Some(PathBuf::from("pid")));
    let output = output.output;
    assert!(output.verbose && output.json_stream_full);
    assert!(!output.json && !output.json_stream);
    assert_eq!((output.format, output.debug), (Some('M'), 2));
    assert_eq!(output.timestamps.as_deref(), Some("%F"));
    assert_eq!(output.logfile, Some(PathBuf::from("log")));

    let output = invocation("-s --json-stream -d").output;
    assert!(output.json && output.json_stream && !output.json_stream_full);
    assert_eq!(output.debug, 4);
    assert_eq!(
        invocation("-s --timestamps").output.timestamps.as_deref(),
        Some("%c ")
    );
}

#[test]
fn a_file_of_options_overrides_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("options");
    let file = path.display();
    std::fs::write(
        &path,
        " # limits\n\n--tests 7\n  --tests-per-client=2 \n--server-bitrate-limit\t1G/10\r\n",
    )
    .unwrap();
    let config = server(&format!(
        "--options-file {file} --tests 3 --server-max-duration 9"
    ));
    let tests = |number| Concurrency::Tests(NonZeroU32::new(number).unwrap());
    assert_eq!((config.tests, config.max_duration), (tests(7), Some(9)));
    assert_eq!(config.tests_per_client, NonZeroU32::new(2));
    assert_eq!(
        config.rate_limit.map(|limit| limit.rate),
        Some(BitRate::new(1_000_000_000))
    );
    for (text, problem) in [
        (
            "--daemon",
            "line 1: '--daemon' is none of the options that a file may hold: --tests, ",
        ),
        ("--tests 1\ntests 2", "line 2: 'tests' is none of"),
        (
            "--server-bitrate-limit=",
            "line 1: --server-bitrate-limit needs a value",
        ),
        (
            "--tests x",
            "line 1: invalid value 'x' for --tests: must be a whole number",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let message = refused(&format!("-s --options-file {file}"));
        assert!(
            message.starts_with(&format!("{file}, {problem}")),
            "{message}"
        );
    }
    std::fs::write(&path, "--tests 2").unwrap();
    assert_eq!(
        refused(&format!("-s -1 --options-file {file}")),
        "--tests and -1 can't be combined"
    );
    std::fs::write(&path, b"--tests \xff").unwrap();
    assert_eq!(
        refused(&format!("-s --options-file {file}")),
        format!("{file}: it is not UTF-8")
    );
    assert_eq!(
        refused("-s --options-file /nowhere"),
        "/nowhere: No such file or directory"
    );
    assert_eq!(
        refused(&format!("-c host --options-file {file}")),
        "some option you are trying to set is server only"
    );
}
