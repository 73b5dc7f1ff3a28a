//! SIGHUP: limits, keys and users change while tests run, and a broken file changes nothing.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use iperf_harness::pair::{run_client, start_client};
use iperf_harness::process::wait_for;
use iperf_harness::{Finished, HANG, Peer, Problems, Running, Server};
use nix::sys::signal::Signal;
use tempfile::TempDir;

const BUSY: &str = "the server is busy running a test";
const DENIED: &str = "test authorization failed";

/// A folder with a file of options.
struct Files(TempDir);

impl Files {
    fn new(options: &str) -> Self {
        let files = Self(tempfile::tempdir().expect("a folder"));
        files.write("options", options);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn server(&self, more: &[&str]) -> Server {
        let options = self.name("options");
        Server::start(Peer::Ours, &[&["--options-file", &options], more].concat())
    }

    /// Makes a pair of keys: NAME.pem and NAME.pub.
    fn keys(&self, name: &str) {
        let (private, public) = (format!("{name}.pem"), format!("{name}.pub"));
        for line in [
            format!("genrsa -out {private} 2048"),
            format!("rsa -in {private} -pubout -out {public}"),
        ] {
            let done = Command::new("openssl")
                .args(line.split(' '))
                .current_dir(self.0.path())
                .output();
            assert!(done.expect("openssl runs").status.success(), "{line}");
        }
    }

    fn log_in(&self, server: &Server, key: &str) -> Finished {
        let mut command = Peer::New.command();
        command.args(["-c", "127.0.0.1", "-n", "64K", "--username", "mario", "-p"]);
        command.arg(server.port().to_string());
        command.arg("--rsa-public-key-path").arg(self.path(key));
        command.env("IPERF3_PASSWORD", "rossi");
        Running::start(command).finish(HANG)
    }
}

/// Sends SIGHUP and waits for the answer on stderr.
fn reload(server: &Server, answer: &str) {
    let count = || server.process.stderr_so_far().matches(answer).count();
    let before = count();
    server.process.signal(Signal::SIGHUP);
    wait_for(HANG, || (count() > before).then_some(()))
        .unwrap_or_else(|| panic!("no \"{answer}\" in: {}", server.process.stderr_so_far()));
}

fn one_test(server: &Server) -> Finished {
    run_client(Peer::New, server.port(), "-n 64K")
}

#[test]
fn limits_change_while_a_test_runs() {
    let files = Files::new("# one test after another\n");
    let server = files.server(&[]);
    let applied = format!("the options of {} apply from now on", files.name("options"));
    let running = start_client(Peer::Old, server.port(), "-t 5 -b 10M");
    let begun = || {
        server
            .process
            .stdout_so_far()
            .contains("Accepted connection")
    };
    wait_for(HANG, || begun().then_some(())).expect("a test");
    let mut f = Problems::new();
    let refused = one_test(&server);
    f.holds(format!("{refused}"), refused.stderr.contains(BUSY));
    files.write("options", "--tests 3\n--server-max-duration=60\n");
    reload(&server, &applied);
    let second = one_test(&server);
    f.holds(
        format!("{second}"),
        second.stderr.contains("maximum permitted limit"),
    );
    files.write("options", "--tests 3\n");
    reload(&server, &applied);
    let second = one_test(&server);
    f.holds(format!("{second}"), second.succeeded());
    let running = running.finish(HANG);
    f.holds(format!("{running}"), running.succeeded());
    f.holds(
        "lines have numbers",
        server.process.stdout_so_far().contains("#2 ["),
    );
    f.assert_none(server.stop());
}

#[test]
fn a_broken_file_changes_nothing_and_is_named() {
    let files = Files::new("--tests 2\n");
    let server = files.server(&[]);
    let options = files.name("options");
    let stays = |problem: &str| format!("warning: options stay as they were: {problem}");
    let running = start_client(Peer::Old, server.port(), "-t 5 -b 10M");
    server.wait_for_test(1);
    for (text, problem) in [
        (
            "--tests 1\n--tests few\n",
            "line 2: invalid value 'few' for --tests: must be",
        ),
        ("\n--port 5202\n", "line 2: '--port' is none of the options"),
        ("--tests\n", "line 1: --tests needs a value"),
    ] {
        files.write("options", text);
        reload(&server, &stays(&format!("{options}, {problem}")));
    }
    let (key, users) = (files.name("no.pem"), files.name("no.users"));
    let login = |key: &str, users: &str| {
        format!("--tests 1\n--rsa-private-key-path {key}\n--authorized-users-path {users}\n")
    };
    files.write("options", &login(&key, &users));
    reload(&server, &format!("{key}: No such file"));
    files.keys("a");
    files.write("options", &login(&files.name("a.pem"), &users));
    reload(&server, &format!("{users}: No such file"));
    fs::remove_file(files.path("options")).expect("the file goes");
    reload(&server, &stays(&format!("{options}: No such file")));
    let mut f = Problems::new();
    let second = one_test(&server);
    f.holds(format!("two tests at a time: {second}"), second.succeeded());
    let running = running.finish(HANG);
    f.holds(format!("{running}"), running.succeeded());
    f.assert_none(server.stop());
}

#[test]
fn keys_and_users_change() {
    let files = Files::new("");
    files.keys("a");
    files.keys("b");
    let copy = |name: &str| fs::copy(files.path(name), files.path("key")).map(drop);
    copy("a.pem").expect("a key");
    // {mario}rossi
    let users = "mario,bf7a49a846d44b454a5d11e7acfaf13d138bbe0b7483aa3e050879700572709b\n";
    files.write("users", users);
    let (key, path) = (files.name("key"), files.name("users"));
    let server = files.server(&[
        "--rsa-private-key-path",
        &key,
        "--authorized-users-path",
        &path,
    ]);
    let applied = "apply from now on";
    let mut f = Problems::new();
    let mut expect = |what: &str, key: &str, served: bool| {
        let end = files.log_in(&server, key);
        let denied = end.stderr.contains(DENIED) || end.stderr.contains("closed unexpectedly");
        f.holds(
            format!("{what}: {end}"),
            if served { end.succeeded() } else { denied },
        );
    };
    expect("its key", "a.pub", true);
    files.write("key", "no key");
    reload(&server, &format!("{key}: the file holds no"));
    expect("the old key still", "a.pub", true);
    copy("b.pem").expect("a key");
    reload(&server, applied);
    expect("the new key", "b.pub", true);
    expect("the old key no more", "a.pub", false);
    files.write("none", "");
    files.write(
        "options",
        &format!("--authorized-users-path {}\n", files.name("none")),
    );
    reload(&server, applied);
    expect("no users", "b.pub", false);
    f.assert_none(server.stop());
}

#[test]
fn the_manager_learns_of_a_reload_and_the_log_too() {
    let files = Files::new("--tests 4\n");
    let path = files.path("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(HANG)).expect("a time limit");
    let receive = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length])
            .trim()
            .to_owned()
    };
    let options = files.name("options");
    let args = ["--options-file", &options, "--log-format", "json"];
    let server = Server::start_with(Peer::Ours, &args, |mut command| {
        command.env("NOTIFY_SOCKET", &path);
        command
    });
    let mut f = Problems::new();
    f.equal("ready", receive(), "READY=1".to_owned());
    server.process.signal(Signal::SIGHUP);
    let reloading = receive();
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    f.holds(
        format!("{reloading:?}"),
        time.is_some_and(|time| time.parse::<u64>().is_ok()),
    );
    f.equal("ready again", receive(), "READY=1".to_owned());
    files.write("options", "--tests many\n");
    server.process.signal(Signal::SIGHUP);
    f.holds("reloading", receive().starts_with("RELOADING=1"));
    f.equal(
        "ready with the old options",
        receive(),
        "READY=1".to_owned(),
    );
    let end = server.stop();
    for (event, text) in [
        ("reloaded", options.as_str()),
        ("warning", "options stay as they were"),
    ] {
        let is_it =
            |line: &str| line.contains(&format!("\"event\":\"{event}\"")) && line.contains(text);
        f.holds(event, end.stdout.lines().any(is_it));
    }
    f.assert_none(end);
}

#[test]
fn without_a_file_of_options_the_signal_ends_the_server_as_in_iperf3() {
    for peer in [Peer::Ours, Peer::New] {
        let server = Server::start(peer, &[]);
        server.process.signal(Signal::SIGHUP);
        let end = server.finish(Duration::from_secs(30));
        let text = "interrupt - the server has terminated by signal Hangup(1)";
        assert!(end.stderr.contains(text), "{end}");
        assert_eq!(end.code(), Some(0), "{end}");
    }
}
