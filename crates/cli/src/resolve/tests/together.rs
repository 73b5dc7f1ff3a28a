//! Options together, and the order in which they are looked at.

use std::path::PathBuf;
use std::time::Duration;

use iperf_model::{BitRate, Direction, Endpoint, Limit, Transport, VsockAddress};

use super::{client, invocation, read, refused, server, test};
use crate::job::Job;
use crate::parse;

#[test]
fn transports_have_their_own_defaults() {
    let udp = client("-u");
    assert_eq!(udp.test.transport, Transport::Udp);
    assert_eq!(udp.test.pacing.rate, Some(BitRate::new(1 << 20)));
    assert!(udp.block_from_mss && client("-u -l 0").block_from_mss);
    let sized = client("-l 1000 -u -b 0");
    assert!(!sized.block_from_mss);
    assert_eq!((sized.test.block, sized.test.pacing.rate), (1000, None));

    let sctp = client("--sctp -X one --nstreams 1k -X two");
    assert_eq!(
        (sctp.test.transport, sctp.test.block),
        (Transport::Sctp, 65_536)
    );
    assert_eq!(sctp.local.sctp.bind, ["one", "two"]);
    assert_eq!(
        (sctp.local.sctp.streams, sctp.test.pacing.rate),
        (Some(1024), None)
    );

    assert_eq!(test("-m").transport, Transport::Mptcp);
    assert_eq!(test("-m -u").transport, Transport::Udp);
    assert_eq!(test("-u --sctp").transport, Transport::Sctp);
}

#[test]
fn seqpacket_needs_af_vsock() {
    let config = |line: &str| match invocation(line).job {
        Job::Client(config) => config,
        job => panic!("{line}: {job:?}"),
    };
    for line in ["-c 3 --seqpacket", "--seqpacket -c s4 --vsock -Z -l 0"] {
        let test = config(line).test;
        let found = (test.transport, test.block);
        assert_eq!(found, (Transport::VsockSeqpacket, 65_536), "{line}");
    }
    assert_eq!(config("-c 3").test.transport, Transport::Vsock);
    for (line, message) in [
        ("-c host --seqpacket", "--seqpacket needs a vsock address"),
        (
            "-c /run/vm.vsock --vsock --seqpacket",
            "--seqpacket can't be used through the Unix socket of a VMM, which carries byte streams only",
        ),
        (
            "-c unix:/run/vm.sock --seqpacket",
            "--seqpacket can't be used through the Unix socket of a VMM, which carries byte streams only",
        ),
        ("-c 3 --seqpacket -m", "-m/--mptcp can't be used over vsock"),
        (
            "-c 3 --seqpacket --zerocopy=splice",
            "--zerocopy=splice can't be used over SOCK_SEQPACKET",
        ),
        (
            "-c 3 --seqpacket --skip-rx-copy",
            "--zerocopy-rx can't be used over SOCK_SEQPACKET",
        ),
        (
            "-s --seqpacket",
            "some option you are trying to set is client only",
        ),
    ] {
        assert_eq!(refused(line), message, "{line}");
    }
}

#[test]
fn only_one_option_may_limit_a_test() {
    for (line, limit) in [
        ("-t 5", Limit::Seconds(5)),
        ("-t 0", Limit::Endless),
        ("-n 1K", Limit::Bytes(1024)),
        ("-k 1k", Limit::Blocks(1024)),
        ("-n 0", Limit::Seconds(10)),
        ("-n 0 -k 0 -t 3", Limit::Seconds(3)),
        ("-t 7 -t 8", Limit::Seconds(8)),
    ] {
        assert_eq!(test(line).limit, limit, "{line}");
    }
    for line in ["-c h -t 0 -n 5", "-t 5 -k 5", "-c h -n 1 -k 1"] {
        assert_eq!(
            refused(line),
            "only one test end condition (-t, -n, -k) may be specified",
            "{line}"
        );
    }
}

#[test]
fn a_file_ends_the_test_that_nothing_else_ends() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let size = std::fs::metadata(file).unwrap().len();
    let config = client(&format!("-F {file}"));
    assert_eq!(config.test.limit, Limit::Bytes(size));
    assert_eq!(config.local.file, Some(PathBuf::from(file)));
    assert_eq!(test(&format!("-F {file} -t 2")).limit, Limit::Seconds(2));
    assert_eq!(test("-F /dev/null").limit, Limit::Seconds(10));
    assert_eq!(test("-F /nonexistent").limit, Limit::Seconds(10));
}

#[test]
fn json_goes_with_warnings() {
    let all = [
        "Report format (-f) flag ignored with JSON output (-J)",
        "Verbose output (-v) may interfere with JSON output (-J)",
        "Debug output (-d) may interfere with JSON output (-J)",
    ];
    let line = "-c h -f m -V --debug=1 --fq-rate 5 --no-fq-socket-pacing";
    assert_eq!(invocation(&format!("{line} -J")).warnings, all);
    assert_eq!(invocation(&format!("{line} --json-stream")).warnings, all);
    let text = invocation(line);
    assert!(text.warnings.is_empty());
    // Two blanks, as iperf3 has them.
    assert_eq!(
        text.notices,
        ["Warning:  --no-fq-socket-pacing is deprecated"]
    );
    assert_eq!(
        test("--fq-rate 5 --no-fq-socket-pacing").pacing.fq_rate,
        None
    );
}

#[test]
fn the_first_mistake_is_reported() {
    let port = "port number must be between 1 and 65535 inclusive";
    let server_only = "some option you are trying to set is server only";
    for (line, message) in [
        // Values are looked at in order, even those that a later one replaces.
        ("-p 0 -t -1 -c h", port),
        ("-p 0 -p 1 -s", port),
        ("-p 0 --nosuch", port),
        ("-p 0 -h", port),
        ("-s -c h -p 0", "cannot be both server and client"),
        // Then options together, in iperf3's order.
        ("-c h -1 --username x", server_only),
        ("-c h -1 -n 1 -k 1", server_only),
        (
            "-c h --username x --rcv-timeout 200",
            "you must specify a username, password, and path to a valid RSA public key",
        ),
        (
            "-c h -u -F x --rcv-timeout 200",
            "client receive timeout is valid only in receiving mode",
        ),
        ("-c h -u -F x -l 1", "cannot transfer file using UDP"),
        (
            "-u -l 5 -t 1 -n 1",
            "block size invalid (minimum = 16 bytes, maximum = 65507 bytes)",
        ),
        ("-p 5 -J -V", "must either be a client (-c) or server (-s)"),
    ] {
        assert_eq!(refused(line), message, "{line}");
    }
    assert_eq!(
        read("--nosuch -p 0").unwrap_err(),
        "unrecognized option '--nosuch'"
    );
}

#[test]
fn help_and_version_count_when_they_are_reached() {
    for line in ["-h", "-h --nosuch", "-sh -p 0"] {
        assert_eq!(invocation(line).job, Job::Help, "{line}");
    }
    assert_eq!(invocation("-J -v -p 0").job, Job::Version);
    assert_eq!(invocation("--version --help").job, Job::Version);
}

#[test]
fn loopback_runs_a_client_against_this_machine() {
    let loopback = |line: &str| match invocation(line).job {
        Job::Loopback(config) => config,
        job => panic!("{line}: {job:?}"),
    };
    let config = loopback("--loopback -P 2 -R --rcv-timeout 200");
    assert_eq!(
        (
            config.endpoint.name().host.as_str(),
            config.endpoint.name().port
        ),
        ("127.0.0.1", 0)
    );
    assert_eq!(
        (config.test.streams, config.test.direction),
        (2, Direction::Reverse)
    );
    let config = loopback("-6 --loopback -p 7");
    assert_eq!(
        (
            config.endpoint.name().host.as_str(),
            config.endpoint.name().port
        ),
        ("::1", 7)
    );
    assert_eq!(
        loopback("--loopback --vsock").endpoint,
        Endpoint::Vsock(VsockAddress {
            cid: 1,
            port: 0,
            sibling: false
        })
    );

    assert_eq!(
        refused("--loopback -D"),
        "some option you are trying to set is server only"
    );
    for line in ["--loopback -s", "-s --loopback", "-c h --loopback"] {
        assert!(
            refused(line).starts_with("--loopback runs both ends"),
            "{line}"
        );
    }
}

#[test]
fn logins_need_both_halves() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let credentials = client(&format!("--username me --rsa-public-key-path {file}")).credentials;
    assert_eq!(
        credentials.map(|c| (c.username, c.public_key)),
        Some(("me".to_owned(), file.into()))
    );
    let keys = format!("--rsa-private-key-path {file} --authorized-users-path {file}");
    let auth = server(&keys).auth.unwrap();
    assert_eq!((auth.skew, auth.pkcs1), (Duration::from_secs(10), false));
    let auth = server(&format!(
        "{keys} --time-skew-threshold 3 --use-pkcs1-padding"
    ))
    .auth
    .unwrap();
    assert_eq!((auth.skew, auth.pkcs1), (Duration::from_secs(3), true));
    assert_eq!(auth.users, PathBuf::from(file));
    assert!(refused("-s --authorized-users-path x").starts_with("you must specify a path"));
}

#[test]
fn an_error_is_reported_with_the_short_usage() {
    let error = parse(["-p".into(), "0".into()]).unwrap_err();
    assert_eq!(
        error.report("iperf3"),
        "iperf3: parameter error - port number must be between 1 and 65535 inclusive\n\
         iperf3: invalid value '0' for -p/--port\n\n\
         Usage: iperf3 [-s|-c host] [options]\nTry `iperf3 --help' for more information.\n"
    );
    let error = parse(["-x".into()]).unwrap_err();
    assert!(
        error
            .report("iperf")
            .starts_with("iperf: invalid option -- 'x'\n\nUsage: iperf ")
    );
}

#[test]
fn what_does_not_fit_requests_and_responses_is_refused() {
    let sizes = |value: &str| {
        format!(
            "invalid value '{value}' for --rr: must be REQ[,RSP], the bytes of a request and a response, from 1 to 1048576"
        )
    };
    for value in ["0", "2M", "1,0", "-1", ",", "1,2,3", "1,", "x"] {
        assert_eq!(refused(&format!("-c h --rr={value}")), sizes(value));
    }
    for (options, other) in [
        ("-Z", "-Z/--zerocopy"),
        ("--zerocopy=msg", "-Z/--zerocopy"),
        ("--zerocopy-rx=mmap", "--zerocopy-rx"),
        ("--skip-rx-copy", "--skip-rx-copy"),
        ("--verify", "--verify"),
        ("--gsro -u", "--gsro"),
        ("--limits", "--limits"),
        ("-b 1M", "-b/--bitrate"),
        ("-l 1K", "-l/--length"),
        ("--bidir", "--bidir"),
    ] {
        let message = format!("--rr and {other} can't be combined");
        assert_eq!(refused(&format!("-c h --rr {options}")), message);
    }
    assert_eq!(
        refused("-c h --rr --rr-timeout 5"),
        "--rr-timeout needs -u/--udp"
    );
    assert!(test("--rr -u --rr-timeout 5").exchange.is_some());
}
