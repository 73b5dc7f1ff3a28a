//! Tests that cannot begin: what the client prints, on which stream, and its exit code.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use iperf_harness::differences::DIFFERENCES;
use iperf_harness::pair::{run_client, start_client, words};
use iperf_harness::service::serves;
use iperf_harness::wire::{ACCESS_DENIED, PARAM_EXCHANGE, Raw, RawClient, Reply, SERVER_ERROR};
use iperf_harness::{
    Finished, HANG, Peer, Port, Problems, Running, Server, json, parallel, peer, shape,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

const REFUSED: &str = "unable to connect to server - server may have stopped running or use a different port, firewall issue, etc.: Connection refused";
const BUSY: &str = "the server is busy running a test. try again later";

fn run(peer: Peer, args: &str) -> Finished {
    let mut command = peer.command();
    command.args(words(args));
    Running::start(command).finish(HANG)
}

/// In text mode: one line on standard error, exit code 1.
fn fails_in_text(f: &mut Problems, end: &Finished, message: &str) {
    let name = Peer::Ours.program_name();
    f.equal("exit code", end.code(), Some(1));
    f.equal("stdout", end.stdout.as_str(), "");
    f.equal(
        "stderr",
        end.stderr.as_str(),
        &format!("{name}: error - {message}\n"),
    );
}

/// In JSON mode: one document of the recorded shape on standard output, nothing on standard error, exit code 1.
fn fails_in_json(f: &mut Problems, end: &Finished, message: &str, sample: &str) {
    f.equal("exit code", end.code(), Some(1));
    f.equal("stderr", end.stderr.as_str(), "");
    let Ok(document) = serde_json::from_str::<Value>(&end.stdout) else {
        return f.add("stdout is no JSON document");
    };
    f.equal("error", json::text(&document, "/error"), Some(message));
    let want: Value = serde_json::from_str(sample).expect("the sample is a document");
    let shape = |document: &Value| shape::lines(document, &[]);
    for difference in shape::differences(&shape(&document), &shape(&want)) {
        f.add(difference);
    }
}

/// Once a server has accepted the parameters, its document of a failed test has the peer, the cookie and the buffers, like
/// 3.22's.
#[test]
fn a_document_of_a_failed_handshake_has_what_is_known() {
    const KEYS: [&str; 6] = [
        "timestamp",
        "accepted_connection",
        "cookie",
        "sock_bufsize",
        "sndbuf_actual",
        "rcvbuf_actual",
    ];
    for server in [Peer::Ours, Peer::New] {
        let server = Server::start(server, &["-1", "-J"]);
        let client = RawClient::up_to_streams(server.port(), iperf_harness::wire::PARAMS);
        let cookie = String::from_utf8_lossy(&client.cookie()[..36]).into_owned();
        drop(client);
        let end = server.finish(HANG);
        let mut f = Problems::new();
        let document = end.document();
        let start = json::at(&document, "/start");
        for key in KEYS {
            f.holds(key, start.get(key).is_some());
        }
        f.equal(
            "cookie",
            json::text(start, "/cookie"),
            Some(cookie.as_str()),
        );
        f.holds("error", json::text(&document, "/error").is_some());
        f.holds("no stream", json::list(start, "/connected").is_empty());
        f.assert_none(end);
    }
}

#[test]
fn a_refused_connection_is_reported() {
    let port = Port::reserve();
    let args = format!("-c 127.0.0.1 -p {} -t 1", port.number());
    let end = run(Peer::Ours, &args);
    let mut f = Problems::new();
    fails_in_text(&mut f, &end, REFUSED);
    f.assert_none(end);

    let end = run(Peer::Ours, &format!("{args} -J"));
    let mut f = Problems::new();
    fails_in_json(
        &mut f,
        &end,
        REFUSED,
        include_str!("../data/samples/error-refused-322.json"),
    );
    f.assert_none(end);

    let end = run(Peer::Ours, &format!("{args} --json-stream"));
    let want = include_str!("../data/samples/error-refused-json-stream-322.jsonl");
    assert_eq!(end.stdout, want, "{end}");
    assert_eq!((end.code(), end.stderr.as_str()), (Some(1), ""), "{end}");
}

/// A refused connection is tried again for a while, but the time limit does not turn that into a time-out.
#[test]
fn a_refused_connection_is_reported_whatever_the_time_limit() {
    let port = Port::reserve();
    for limit in [100, 1000] {
        let args = format!(
            "-c 127.0.0.1 -p {} --connect-timeout {limit}",
            port.number()
        );
        let end = run(Peer::Ours, &args);
        let mut f = Problems::new();
        fails_in_text(&mut f, &end, REFUSED);
        f.assert_none(end);
    }
}

/// What is wrong on this machine is not blamed on the server or on a firewall.
#[test]
fn a_local_address_device_or_family_that_cannot_be_used_is_named() {
    let port = Port::reserve();
    for (args, message) in [
        (
            "-B 1.2.3.4",
            "can't bind to 1.2.3.4 (-B): Cannot assign requested address",
        ),
        (
            "-u -B 1.2.3.4",
            "can't bind to 1.2.3.4 (-B): Cannot assign requested address",
        ),
        ("-B ::1", "'::1' has no IPv4 address (-B)"),
        (
            "--bind-dev nosuch0",
            "can't bind to the device 'nosuch0': No such device",
        ),
        (
            "-B 127.0.0.1%nosuch0",
            "can't bind to the device 'nosuch0': No such device",
        ),
        ("-6", "'127.0.0.1' has no IPv6 address (-6)"),
    ] {
        let args = format!("-c 127.0.0.1 -p {} {args}", port.number());
        let end = run(Peer::Ours, &args);
        let mut f = Problems::new();
        fails_in_text(
            &mut f,
            &end,
            &format!("unable to connect to server: {message}"),
        );
        f.assert_none(end);
    }
    let end = run(Peer::Ours, "-c 127.0.0.1 -B nosuch.invalid");
    let message = "unable to connect to server: can't resolve 'nosuch.invalid' (-B): ";
    assert!(end.stderr.contains(message), "{end}");
}

/// A disk that is full, or a directory, is no matter of the socket.
#[test]
fn a_file_that_cannot_be_used_is_named() {
    const FULL: &str = "unable to write the file of -F: No space left on device";
    let server = Server::start(Peer::Ours, &["-F", "/dev/full"]);
    let end = run_client(Peer::Ours, server.port(), "-t 1");
    assert_eq!(end.code(), Some(1), "{end}");
    let server = server.stop();
    for end in [&end, &server] {
        assert!(end.stderr.contains(FULL), "{end}");
    }
    let server = Server::start(Peer::Ours, &[]);
    for (args, message) in [
        ("-t 1 -R -F /dev/full", FULL),
        (
            "-t 1 -F /",
            "unable to open the file of -F: /: is a directory",
        ),
    ] {
        let end = run_client(Peer::Ours, server.port(), args);
        assert_eq!(end.code(), Some(1), "{end}");
        assert!(end.stderr.contains(message), "{end}");
    }
}

#[test]
fn the_path_of_a_socket_that_is_too_long_is_named_with_its_length() {
    let path = format!("/tmp/{}", "x".repeat(115));
    let message = format!("the path {path} has 120 bytes, and that of a socket at most 107");
    for args in [
        format!("-c unix:{path}"),
        format!("-c {path} --vsock"),
        format!("-s --vsock -B unix:{path}"),
    ] {
        let end = run(Peer::Ours, &args);
        assert_eq!(end.code(), Some(1), "{end}");
        assert!(end.stderr.contains(&message), "{end}");
    }
}

#[test]
fn a_server_of_another_kind_is_suspected() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 37]).unwrap();
        stream.write_all(&[104]).unwrap();
        // Until the client has had enough.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let end = run(Peer::Ours, &format!("-c 127.0.0.1 -p {port}"));
    let mut f = Problems::new();
    let message =
        "received an unknown control message (ensure other side is iperf3 and not iperf): 104";
    fails_in_text(&mut f, &end, message);
    f.assert_none(end);
    other.join().unwrap();
}

/// The resolver's error depends on the machine, so a real client is run, too.
#[test]
fn a_name_that_does_not_exist() {
    let args = "-c nosuch.invalid -t 1";
    let (ours, real) = (run(Peer::Ours, args), run(Peer::New, args));
    let renamed = real
        .stderr
        .replacen("iperf3:", &format!("{}:", Peer::Ours.program_name()), 1);
    assert!(renamed.contains("unable to connect to server"), "{real}");
    assert_eq!(ours.stderr, renamed, "{ours}{real}");
    assert_eq!((ours.code(), ours.stdout.as_str()), (Some(1), ""), "{ours}");
}

/// A listener with a full queue drops connection requests, like a firewall.
#[test]
fn the_connection_takes_too_long() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let port = Port::reserve();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
    socket.bind(&address.into()).unwrap();
    socket.listen(0).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queued.push(stream);
        assert!(queued.len() < 100, "the queue does not fill");
    }
    let end = run_client(Peer::Ours, port.number(), "--connect-timeout 500 -t 1");
    assert!(!end.timed_out, "{end}");
    let mut f = Problems::new();
    fails_in_text(
        &mut f,
        &end,
        &REFUSED.replace("Connection refused", "Connection timed out"),
    );
    f.assert_none(end);
}

/// A server runs a test while `look` looks at it.
fn while_busy(server: Peer, first: Peer, look: impl Fn(u16)) {
    let server = Server::start(server, &["--forceflush"]);
    let client = start_client(first, server.port(), "-t 600 -b 10M");
    server.wait_for_output("connected to");
    look(server.port());
    client.signal(Signal::SIGINT);
    let end = client.finish(HANG);
    assert!(
        end.stderr.contains("the client has terminated"),
        "the first client was disturbed:\n{end}"
    );
}

#[test]
fn our_client_learns_that_a_server_is_busy() {
    for server in peer::REAL {
        while_busy(server, server, |port| {
            let end = run_client(Peer::Ours, port, "-t 1");
            let mut f = Problems::new();
            fails_in_text(&mut f, &end, BUSY);
            f.assert_none(end);

            let end = run_client(Peer::Ours, port, "-J -t 1");
            let mut f = Problems::new();
            fails_in_json(
                &mut f,
                &end,
                BUSY,
                include_str!("../data/samples/error-busy-322.json"),
            );
            f.assert_none(end);
        });
    }
}

#[test]
fn our_server_reports_that_it_is_busy() {
    while_busy(Peer::Ours, Peer::Ours, |port| {
        for client in peer::REAL {
            let end = run_client(client, port, "-t 1");
            assert!(end.stderr.contains(BUSY), "{end}");
        }
        let mut raw = RawClient::connect(port);
        assert_eq!(raw.control.reply(HANG), Reply::State(ACCESS_DENIED));
        assert_eq!(raw.control.reply(HANG), Reply::Closed);
    });
}

/// What a server answers to parameters that it cannot take: an error with this code, and its end of the line.
#[test]
fn bad_parameters_are_refused_by_code() {
    let server = Server::start(Peer::Ours, &[]);
    let with = |key: &str| format!("{{\"tcp\":true,\"time\":1,\"len\":131072,{key}}}");
    let rows = [
        ("no JSON", "{\"tcp\":true,".to_owned(), 114),
        ("not even close", "hello".to_owned(), 114),
        ("streams", with("\"parallel\":129"), 6),
        ("no stream", with("\"parallel\":0"), 6),
        ("negative streams", with("\"parallel\":-1"), 6),
        (
            "duration",
            "{\"tcp\":true,\"len\":131072,\"time\":86401}".to_owned(),
            5,
        ),
        (
            "block size",
            "{\"tcp\":true,\"time\":1,\"len\":1048577}".to_owned(),
            7,
        ),
        ("omitted time", with("\"omit\":601"), 12),
        ("window", with("\"window\":536870913"), 8),
        ("MSS", with("\"MSS\":32768"), 10),
        ("burst", with("\"burst\":1001"), 15),
        ("type of service", with("\"TOS\":256"), 21),
    ];
    for (name, params, code) in rows {
        let mut client = RawClient::up_to_params(server.port());
        client.control.send_json(&params);
        assert_eq!(
            client.control.reply(HANG),
            Reply::State(SERVER_ERROR),
            "{name}: {params}"
        );
        let mut numbers = [0; 8];
        client.control.read_exact(&mut numbers, HANG).unwrap();
        let got = i32::from_be_bytes(numbers[..4].try_into().unwrap());
        assert_eq!(got, code, "{name}: {params}");
        assert!(
            client.control.drain(HANG),
            "{name}: the connection stays open"
        );
    }
    still_serves(&server);
}

#[test]
fn bad_lengths_of_parameters_are_refused() {
    let server = Server::start(Peer::Ours, &[]);
    for length in [0, 8193, 0x9000_0000, u32::MAX] {
        let mut client = RawClient::up_to_params(server.port());
        client.control.send(&length.to_be_bytes());
        assert_eq!(
            client.control.reply(HANG),
            Reply::State(SERVER_ERROR),
            "length {length}"
        );
        assert!(
            client.control.drain(HANG),
            "length {length}: the connection stays open"
        );
    }
    still_serves(&server);
}

fn still_serves(server: &Server) {
    for client in [Peer::Ours, Peer::Old, Peer::New] {
        serves(server.port(), client, HANG).unwrap_or_else(|e| {
            panic!(
                "{e}\nthe server's stderr:\n{}",
                server.process.stderr_so_far()
            )
        });
    }
}

/// A data connection with a wrong cookie is refused, and the test that waits for its connections goes on.
#[test]
fn a_wrong_cookie_does_not_join_a_test() {
    let server = Server::start(Peer::Ours, &[]);
    let mut client = RawClient::up_to_streams(server.port(), iperf_harness::wire::PARAMS);
    let mut stranger = Raw::connect(server.port());
    stranger.send(&[b'z'; 37]);
    // A real server refuses it; ours takes it for another client that requests a test.
    let answer = stranger.reply(HANG);
    let turned_away = [Reply::State(ACCESS_DENIED), Reply::State(PARAM_EXCHANGE)];
    assert!(turned_away.contains(&answer), "{answer:?}");
    client.open_data();
    client.control.expect(iperf_harness::wire::TEST_START);
    client.control.expect(iperf_harness::wire::TEST_RUNNING);
    drop(client);
    still_serves(&server);
}

/// A recorded command line of 3.22 and its outcome.
struct Line {
    args: String,
    exit: i64,
    message: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.args)
    }
}

/// The port without a listener when the lines were recorded.
const RECORDED_PORT: &str = "15990";

fn recorded_lines() -> Vec<Line> {
    let deliberate: Vec<String> = DIFFERENCES
        .iter()
        .flat_map(|difference| difference.args)
        .map(|args| args.replace("-c host", &format!("-c 127.0.0.1 -p {RECORDED_PORT}")))
        .collect();
    let rows: Value = serde_json::from_str(include_str!("../data/cli-validation.json"))
        .expect("the recorded lines are a document");
    json::list(&rows, "")
        .iter()
        .filter(|row| json::text(row, "/version") == Some("3.22"))
        .filter_map(|row| {
            Some(Line {
                args: json::text(row, "/args")?.to_owned(),
                exit: json::int(row, "/exit")?,
                message: json::text(row, "/message")?.to_owned(),
            })
        })
        // Keys and users have tests of their own; the resolver's message depends on the machine.
        .filter(|line| !line.args.contains(".pem") && !line.args.contains("nosuch.invalid"))
        .filter(|line| !deliberate.contains(&line.args))
        .collect()
}

#[test]
fn command_lines_are_judged_as_iperf3_judges_them() {
    let lines = recorded_lines();
    assert!(lines.len() > 90, "only {} lines were recorded", lines.len());
    let name = Peer::Ours.program_name();
    parallel::each(&lines, 4, |line| {
        let port = Port::reserve();
        let end = run(
            Peer::Ours,
            &line.args.replace(RECORDED_PORT, &port.number().to_string()),
        );
        let mut f = Problems::new();
        f.equal("exit code", end.code().map(i64::from), Some(line.exit));
        if !line.message.starts_with('(') {
            let want = line.message.replacen("iperf3:", &format!("{name}:"), 1);
            let all = format!("{}{}", end.stderr, end.stdout);
            let want = want.trim_end();
            f.holds(
                format!("a line has: {want}"),
                all.lines().any(|line| line.trim_end() == want),
            );
        }
        f.into_result(end)
    });
}
