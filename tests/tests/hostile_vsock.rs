//! Bad input over vsock and over the Unix sockets of VMMs: wrong addresses, VMMs that stall or lie, guests that flood a
//! server, and socket files that are in the way.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use iperf_harness::pair::words;
use iperf_harness::process::wait_for;
use iperf_harness::wire::Raw;
use iperf_harness::{HANG, Peer, Problems, Running, json, parallel, procfs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A server may grow this much for a flood.
const MEMORY_KIB: u64 = 64 * 1024;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn client(target: &str, args: &str) -> Running {
    let mut command = Peer::Ours.command();
    command.args(["--vsock", "-c", target]).args(words(args));
    Running::start(command)
}

/// Runs a client that can't succeed, within a limit.
fn refused(target: &str, args: &str, limit: Duration) -> String {
    let end = client(target, args).finish(limit);
    assert_eq!(end.code(), Some(1), "{end}");
    end.stderr
}

/// What a VMM does with its first connection.
struct BadVmm {
    name: &'static str,
    act: fn(UnixStream),
    message: &'static str,
}

impl fmt::Display for BadVmm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Reads the line and answers.
fn answer(mut stream: &UnixStream, bytes: &[u8]) {
    let mut line = [0; 13];
    stream.read_exact(&mut line).expect("CONNECT");
    assert_eq!(&line, b"CONNECT 5201\n");
    // The client may have seen enough.
    let _ = stream.write_all(bytes);
}

fn bad_vmms() -> Vec<BadVmm> {
    let bad = |name, act, message| BadVmm { name, act, message };
    vec![
        bad("closes at once", drop::<UnixStream>, "the VMM closed"),
        bad(
            "closes in place of an answer",
            |stream| answer(&stream, b""),
            "nothing listens on port 5201 in the guest",
        ),
        bad(
            "answers garbage",
            |stream| answer(&stream, b"\x00\xff\xfe\x80\n"),
            "to CONNECT 5201, and not OK and a port",
        ),
        bad(
            "answers without an end",
            |mut stream| {
                answer(&stream, b"OK ");
                while stream.write_all(b"1").is_ok() {}
            },
            "to CONNECT 5201, and not OK and a port",
        ),
        bad(
            "answers a number that is too large",
            |stream| answer(&stream, b"OK 4294967296\n"),
            "to CONNECT 5201, and not OK and a port",
        ),
        bad(
            "sends nothing",
            |mut stream| {
                answer(&stream, b"");
                let _ = stream.read(&mut [0]);
            },
            "the VMM does not answer CONNECT 5201",
        ),
        bad(
            "answers byte by byte and never ends",
            |mut stream| {
                answer(&stream, b"");
                while stream.write_all(b" ").is_ok() {
                    thread::sleep(Duration::from_millis(400));
                }
            },
            "the VMM does not answer CONNECT 5201",
        ),
        bad(
            "answers OK and closes",
            |stream| answer(&stream, b"OK 1\n"),
            "control socket has closed unexpectedly",
        ),
    ]
}

#[test]
fn a_bad_vmm_ends_its_client_with_an_error() {
    let vmms = bad_vmms();
    parallel::each(&vmms, vmms.len(), |vmm| {
        let dir = directory();
        let path = dir.path().join("vm.vsock");
        let listener = UnixListener::bind(&path).expect("a socket file");
        let act = vmm.act;
        let thread = thread::spawn(move || act(listener.accept().expect("a client").0));
        let end = client(&path.to_string_lossy(), "--connect-timeout 1500").finish(HANG);
        let mut f = Problems::new();
        f.equal("exit code", end.code(), Some(1));
        f.holds(vmm.message, end.stderr.contains(vmm.message));
        f.holds("the VMM saw what it expected", thread.join().is_ok());
        f.into_result(end)
    });
}

#[test]
fn a_vmm_that_refuses_the_data_connection_is_reported() {
    let dir = directory();
    let path = dir.path().join("vm.vsock");
    let listener = UnixListener::bind(&path).expect("a socket file");
    let vmm = thread::spawn(move || {
        let (control, _) = listener.accept().expect("the control connection");
        answer(&control, b"OK 1\n");
        let mut control = Raw(control);
        control.read_exact(&mut [0; 37], HANG).expect("a cookie");
        control.send(&[iperf_harness::wire::PARAM_EXCHANGE]);
        drop(control.expect_json());
        control.send(&[iperf_harness::wire::CREATE_STREAMS]);
        let (data, _) = listener.accept().expect("a data connection");
        answer(&data, b"");
        drop(data);
        control.drain(HANG);
    });
    let message = refused(&path.to_string_lossy(), "", HANG);
    assert!(
        message.contains("nothing listens on port 5201 in the guest"),
        "{message}"
    );
    vmm.join().expect("the client did as expected");
}

#[test]
fn an_address_that_leads_nowhere_is_explained() {
    let dir = directory();
    let file = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    fs::write(file("text"), "no socket").expect("a file");
    drop(UnixListener::bind(file("stale")).expect("a socket file"));
    let datagrams = std::os::unix::net::UnixDatagram::bind(file("dgram"));
    let long = format!("/tmp/{}", "x".repeat(200));
    for prefix in ["", "unix:"] {
        for (name, message) in [
            ("absent", "absent does not exist: is the VMM running?"),
            ("text", "text is not a socket"),
            ("stale", "nothing listens on "),
            ("dgram", "dgram is not a stream socket"),
        ] {
            let stderr = refused(&format!("{prefix}{}", file(name)), "", HANG);
            assert!(stderr.contains(message), "{prefix}{name}: {stderr}");
        }
        let stderr = refused(&format!("{prefix}{long}"), "", HANG);
        assert!(stderr.contains("unable to connect to server"), "{stderr}");
    }
    drop(datagrams);
}

#[test]
fn an_unused_cid_is_an_error_within_the_time_limit() {
    for cid in ["4294967294", "77", "0", "vsock:4242:7"] {
        let end = client(cid, "--connect-timeout 1000 -J").finish(HANG);
        assert_eq!(end.code(), Some(1), "{end}");
        let document = serde_json::from_str(&end.stdout).expect("a document");
        let error = json::text(&document, "/error").unwrap_or_default();
        assert!(error.contains("unable to connect to server"), "{end}");
        assert!(error.contains("CID") || error.contains("vsock"), "{end}");
    }
}

/// A server on a socket file of its own.
struct Server {
    dir: TempDir,
    process: Running,
}

impl Server {
    fn start(args: &str) -> Self {
        let dir = directory();
        let process = Running::start(command(&dir, args));
        let file = dir.path().join("vm.vsock_5201");
        let up = wait_for(HANG, || UnixStream::connect(&file).ok());
        assert!(up.is_some(), "nothing listens on {}", file.display());
        Self { dir, process }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("vm.vsock_5201")
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.file()).expect("the server listens")
    }

    /// Runs a good test, when the server has said goodbye to another client.
    fn serves(&self) -> Result<(), String> {
        let target = format!("unix:{}", self.file().display());
        let result = wait_for(HANG, || {
            let end = client(&target, "-J -n 256K").finish(HANG);
            let document = end.document();
            let error = json::text(&document, "/error").unwrap_or_default();
            if error.contains("busy running a test") {
                return None;
            }
            Some(match json::int(&document, "/end/sum_received/bytes") {
                Some(262_144) if end.succeeded() => Ok(()),
                other => Err(format!("received {other:?}\n{end}")),
            })
        });
        result.unwrap_or_else(|| Err("the server is busy for ever".to_owned()))
    }
}

fn command(dir: &TempDir, args: &str) -> std::process::Command {
    let mut command = Peer::Ours.command();
    command
        .args(["-s", "--vsock", "-B"])
        .arg(dir.path().join("vm.vsock"))
        .args(words(args))
        .current_dir(dir.path());
    command
}

/// How a guest disturbs a server, and what it keeps open meanwhile.
struct Flood {
    name: &'static str,
    act: fn(&Server) -> Vec<UnixStream>,
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn many(server: &Server, count: usize, bytes: &[u8]) -> Vec<UnixStream> {
    let connect = |_| {
        let mut stream = server.connect();
        // The server may refuse it before it has said everything.
        let _ = stream.write_all(bytes);
        stream
    };
    (0..count).map(connect).collect()
}

#[test]
fn a_guest_that_floods_a_server_blocks_no_other_client() {
    let floods = [
        Flood {
            name: "200 connections say nothing",
            act: |server| many(server, 200, b""),
        },
        Flood {
            name: "200 connections stop in the cookie",
            act: |server| many(server, 200, b"abc"),
        },
        Flood {
            name: "200 connections babble",
            act: |server| many(server, 200, &[0x9e; 4096]),
        },
        Flood {
            name: "3000 connections come and go",
            act: |server| {
                for _ in 0..30 {
                    drop(many(server, 100, b"x"));
                }
                Vec::new()
            },
        },
        Flood {
            name: "60 clients stop before their parameters",
            act: |server| {
                let cookie = |index: usize| format!("{index:036}\0");
                (0..60)
                    .flat_map(|index| many(server, 1, cookie(index).as_bytes()))
                    .collect()
            },
        },
    ];
    parallel::each(&floods, 3, |flood| {
        let mut server = Server::start("");
        server.serves()?;
        let memory = procfs::resident_kib(server.process.id());
        let held = (flood.act)(&server);
        let mut f = Problems::new();
        if let Err(report) = server.serves() {
            f.add(format!("while it lasts: {report}"));
        }
        f.holds("the server lives", server.process.is_alive());
        if server.process.is_alive() {
            let grown = procfs::resident_kib(server.process.id()).saturating_sub(memory);
            f.holds(
                format!("the server grew by {grown} KiB"),
                grown < MEMORY_KIB,
            );
        }
        drop(held);
        if let Err(report) = server.serves() {
            f.add(format!("afterwards: {report}"));
        }
        server.process.signal(Signal::SIGTERM);
        let file = server.file();
        let end = server.process.finish(HANG);
        f.equal("the server's exit code", end.code(), Some(0));
        f.holds("its socket file is gone", !file.exists());
        f.into_result(end)
    });
}

#[test]
fn a_client_that_reads_nothing_or_sends_nothing_loses_its_turn() {
    for (params, message) in [
        (
            r#"{"vsock":true,"time":30,"parallel":1,"len":65536,"reverse":true}"#,
            "no data for",
        ),
        (
            r#"{"vsock":true,"time":30,"parallel":1,"len":65536}"#,
            "no data in the first",
        ),
    ] {
        let server = Server::start("");
        let cookie = [&[b'q'; 36][..], b"\0"].concat();
        let mut control = Raw(server.connect());
        control.send(&cookie);
        control.expect(iperf_harness::wire::PARAM_EXCHANGE);
        control.send_json(params);
        control.expect(iperf_harness::wire::CREATE_STREAMS);
        let mut data = Raw(server.connect());
        data.send(&cookie);
        let stderr = || server.process.stderr_so_far();
        let reported = wait_for(HANG, || stderr().contains(message).then_some(()));
        assert!(reported.is_some(), "{message}: {}", stderr());
        server.serves().expect("the server goes on");
    }
}

/// Starts a server that must not listen, and gives its message.
fn can_not_listen(dir: &TempDir, args: &str) -> String {
    let end = Running::start(command(dir, args)).finish(HANG);
    assert_eq!(end.code(), Some(1), "{end}");
    assert!(
        end.stderr
            .contains("error - unable to start listener for connections: "),
        "{end}"
    );
    end.stderr
}

#[test]
fn a_file_of_another_process_is_not_touched() {
    let dir = directory();
    let file = dir.path().join("vm.vsock_5201");

    fs::write(&file, "precious").expect("a file");
    assert!(can_not_listen(&dir, "").contains("exists and is not a socket"));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "precious");

    let target = dir.path().join("elsewhere");
    fs::write(&target, "precious").expect("a file");
    fs::remove_file(&file).expect("it is there");
    std::os::unix::fs::symlink(&target, &file).expect("a link");
    assert!(can_not_listen(&dir, "").contains("exists and is not a socket"));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "precious");

    fs::remove_file(&file).expect("it is there");
    let listener = UnixListener::bind(&file).expect("a socket file");
    assert!(can_not_listen(&dir, "-D").contains("another program listens on"));
    assert!(UnixStream::connect(&file).is_ok(), "it listens as before");
    drop(listener);

    let nowhere = dir.path().join("nowhere/vm.vsock");
    let end = Running::start({
        let mut command = Peer::Ours.command();
        command.args(["-s", "--vsock", "-B"]).arg(nowhere);
        command
    })
    .finish(HANG);
    assert_eq!(end.code(), Some(1), "{end}");
}

/// A daemon, which has no parent to wait for it; dropping this ends it.
struct Daemon(Pid);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

/// Starts a daemon and returns when its parent has ended.
fn daemon(dir: &TempDir, args: &str) -> Daemon {
    let args = format!("-D --pidfile server.pid {args}");
    let parent = Running::start(command(dir, &args)).finish(HANG);
    assert!(parent.succeeded(), "{parent}");
    let pid = fs::read_to_string(dir.path().join("server.pid")).expect("a pid file");
    Daemon(Pid::from_raw(pid.parse().expect("a number")))
}

fn is_gone(file: &Path) -> bool {
    wait_for(HANG, || (!file.exists()).then_some(())).is_some()
}

#[test]
fn the_socket_of_a_daemon_is_there_when_its_parent_ends_and_gone_when_it_does() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let dir = directory();
        let file = dir.path().join("vm.vsock_5201");
        let daemon = daemon(&dir, "");
        // There is no handshake to wait for: a VMM may connect at once.
        assert!(UnixStream::connect(&file).is_ok());
        kill(daemon.0, signal).expect("it runs");
        assert!(is_gone(&file), "{signal}");
    }
}

#[test]
fn the_socket_of_a_daemon_of_one_test_goes_with_it() {
    let dir = directory();
    let file = dir.path().join("vm.vsock_5201");
    let _daemon = daemon(&dir, "-1");
    let end = client(&format!("unix:{}", file.display()), "-n 1M").finish(HANG);
    assert!(end.succeeded(), "{end}");
    assert!(is_gone(&file));
}

#[test]
fn the_socket_of_a_killed_server_is_replaced() {
    let dir = directory();
    let file = dir.path().join("vm.vsock_5201");
    let killed = daemon(&dir, "");
    kill(killed.0, Signal::SIGKILL).expect("it runs");
    let dead = wait_for(HANG, || UnixStream::connect(&file).is_err().then_some(()));
    assert!(dead.is_some() && file.exists(), "the file stays");
    // The dead process may still have its pid: no parent has waited for it.
    fs::remove_file(dir.path().join("server.pid")).expect("a pid file");
    let daemon = daemon(&dir, "");
    assert!(UnixStream::connect(&file).is_ok());
    kill(daemon.0, Signal::SIGTERM).expect("it runs");
    assert!(is_gone(&file));
}

#[test]
fn a_socket_that_a_vmm_ties_to_a_port_needs_no_handshake() {
    let dir = directory();
    let file = dir.path().join("tied.sock");
    let name = format!("unix:{}", file.display());
    let mut command = Peer::Ours.command();
    command.args(["-s", "--vsock", "-1", "-J", "-B", &name]);
    let server = Running::start(command);
    assert!(wait_for(HANG, || procfs::listens_on(&file).then_some(())).is_some());
    let end = client(&name, "-t 1 --bidir -J").finish(HANG);
    let server = server.finish(HANG);
    assert!(end.succeeded() && server.succeeded(), "{end}{server}");
    assert!(!file.exists());
    for end in [end, server] {
        let document = serde_json::from_str(&end.stdout).expect("a document");
        let path = file.to_string_lossy();
        let text = |at: &str| json::text(&document, at).map(str::to_owned);
        assert_eq!(text("/start/vsock/carrier"), Some("unix".into()), "{end}");
        assert_eq!(text("/start/vsock/socket_file"), Some(path.to_string()));
        assert_eq!(text("/start/connected/0/local_host"), Some("2".into()));
        assert_eq!(
            text("/start/connected/0/remote_host"),
            Some(path.to_string())
        );
        assert!(json::int(&document, "/start/vsock/sndbuf_actual") > Some(0));
    }
}
