//! The vsock fork of iperf3 as it was recorded, byte by byte and with its habits, against the program in both roles.
//!
//! The fork closes its data connections without half-closing them and without reading what is in flight.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use iperf_harness::process::wait_for;
use iperf_harness::proxy::{HalfClose, Vmm};
use iperf_harness::wire::{COOKIE, Raw, Reply, SERVER_ERROR};
use iperf_harness::{Finished, HANG, Peer, Running, json};
use serde_json::Value;

const PORT: u32 = 15_960;

/// A block of the fork.
const BLOCK: usize = 65_536;

/// A recording: what went over the control connection, in its order.
struct Recording {
    entries: Vec<Entry>,
    client_args: Vec<String>,
    streams: usize,
}

struct Entry {
    to_server: bool,
    kind: String,
    bytes: Vec<u8>,
}

impl Recording {
    fn read(name: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../crates/proto/tests/data/captures")
            .join(format!("{name}.json"));
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let json: Value = serde_json::from_str(&text).expect("a recording is JSON");
        let entries = json["entries"].as_array().expect("entries");
        Self {
            entries: entries.iter().map(Entry::read).collect(),
            client_args: serde_json::from_value(json["client_args"].clone()).expect("words"),
            streams: if name.contains("bidir-p2") { 4 } else { 1 },
        }
    }

    fn is(&self, option: &str) -> bool {
        self.client_args.iter().any(|word| word == option)
    }

    /// Whether the client sends on its `index`-th stream.
    fn client_sends(&self, index: usize) -> bool {
        match (self.is("--bidir"), self.is("-R")) {
            (true, _) => index < self.streams / 2,
            (false, reverse) => !reverse,
        }
    }
}

impl Entry {
    fn read(entry: &Value) -> Self {
        let text = |key: &str| entry[key].as_str().expect("a text").to_owned();
        let hex = text("hex");
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
        Self {
            to_server: text("dir") == "c2s",
            kind: text("kind"),
            bytes: (0..hex.len()).step_by(2).map(byte).collect(),
        }
    }
}

const GOOD: [&str; 3] = [
    "vsock-uds-39v",
    "vsock-uds-reverse-39v",
    "vsock-uds-bidir-p2-39v",
];

/// Sends some blocks, as fast as they go.
fn send_blocks(mut stream: &UnixStream) -> usize {
    stream.set_write_timeout(Some(HANG)).expect("a deadline");
    let block = vec![b'v'; BLOCK];
    let blocks = 20;
    for _ in 0..blocks {
        stream.write_all(&block).expect("the peer reads");
    }
    blocks * BLOCK
}

fn document(end: &Finished) -> Value {
    serde_json::from_str(&end.stdout).unwrap_or_else(|e| panic!("no document: {e}\n{end}"))
}

#[test]
fn the_recorded_client_completes_its_test_with_our_server() {
    for name in GOOD {
        let recording = Recording::read(name);
        let vmm = Vmm::start(HalfClose::Passed, Duration::ZERO);
        let server = vmm.serve(PORT, "-1 -J");
        let file = vmm.server_file(PORT);
        let (sent, received) = play_client(&recording, &file);
        let end = server.finish(HANG);
        assert!(end.succeeded(), "{name}: {end}");
        let document = document(&end);
        assert_eq!(json::text(&document, "/error"), None, "{name}: {end}");
        assert_eq!(
            json::text(&document, "/start/test_start/protocol"),
            Some("VSOCK"),
            "{end}"
        );
        let summed = |key: &str| json::int(&document, key).and_then(|n| usize::try_from(n).ok());
        let back = if recording.is("--bidir") {
            "/end/sum_sent_bidir_reverse/bytes"
        } else {
            "/end/sum_sent/bytes"
        };
        if sent > 0 {
            assert_eq!(
                summed("/end/sum_received/bytes"),
                Some(sent),
                "{name}: {end}"
            );
        }
        if recording.client_sends(recording.streams - 1) {
            assert_eq!(received, 0, "{name}");
        } else {
            assert!(
                received > 0 && summed(back) >= Some(received),
                "{name}: {end}"
            );
        }
    }
}

/// Waits until a server has read all that was sent to its socket file.
fn wait_until_read(file: &Path) {
    let all_is_read = || {
        let table = Command::new("ss").args(["-xanH"]).output().ok()?;
        let table = String::from_utf8_lossy(&table.stdout).into_owned();
        // Kind, state, bytes that are not read, bytes that are not sent, address.
        let rows = table.lines().map(|row| row.split_whitespace());
        let connections = rows.filter_map(|mut row| {
            let [state, unread] = [row.nth(1)?, row.next()?];
            let is_of_server = row.nth(1).map(Path::new) == Some(file);
            (is_of_server && state == "ESTAB").then_some(unread)
        });
        let unread: Vec<_> = connections.collect();
        (!unread.is_empty() && unread.iter().all(|bytes| *bytes == "0")).then_some(())
    };
    assert!(
        wait_for(HANG, all_is_read).is_some(),
        "the server does not read"
    );
    // The thread that read the last bytes counts them.
    thread::sleep(Duration::from_millis(100));
}

/// Walks through a recording in the client's place: the bytes that were sent and received as data.
fn play_client(recording: &Recording, file: &Path) -> (usize, usize) {
    let connect = || Raw(UnixStream::connect(file).expect("a server"));
    let mut control = connect();
    let mut data = Vec::new();
    let (mut sent, mut received) = (0, 0);
    for entry in &recording.entries {
        match (entry.to_server, entry.kind.as_str()) {
            (true, "TEST_END") => {
                // All that was sent has arrived: nothing is between the two.
                wait_until_read(file);
                control.send(&entry.bytes);
            }
            (true, "IPERF_DONE") => {
                data.clear();
                control.send(&entry.bytes);
            }
            (true, _) => control.send(&entry.bytes),
            (false, "results") => {
                let results = control.expect_json();
                assert!(results.contains("\"streams\":[{\"id\":1,"), "{results}");
            }
            (false, "CREATE_STREAMS") => {
                control.expect(entry.bytes[0]);
                let cookie = &recording.entries[0].bytes;
                for _ in 0..recording.streams {
                    let mut stream = connect();
                    stream.send(cookie);
                    data.push(stream);
                }
            }
            (false, "TEST_RUNNING") => {
                control.expect(entry.bytes[0]);
                for (index, stream) in data.iter_mut().enumerate() {
                    if recording.client_sends(index) {
                        sent += send_blocks(&stream.0);
                    } else {
                        stream
                            .read_exact(&mut vec![0; BLOCK], HANG)
                            .expect("a block");
                        received += BLOCK;
                    }
                }
            }
            (false, _) => control.expect(entry.bytes[0]),
        }
    }
    (sent, received)
}

#[test]
fn the_recorded_server_completes_a_test_of_our_client() {
    for name in GOOD {
        let recording = Recording::read(name);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("vm.vsock");
        let listener = UnixListener::bind(&path).expect("a socket file");
        listener.set_nonblocking(true).expect("a listener");
        let mut command = Peer::Ours.command();
        // The recording has placeholders.
        let words = recording
            .client_args
            .iter()
            .map(|word| match word.as_str() {
                "UDS_PATH" => path.to_string_lossy().into_owned(),
                "PORT" => PORT.to_string(),
                word => word.to_owned(),
            });
        command.args(words).arg("-J");
        let client = Running::start(command);
        let received = play_server(&recording, &listener);
        let end = client.finish(HANG);
        assert!(end.succeeded(), "{name}: {end}");
        let document = document(&end);
        assert_eq!(json::text(&document, "/error"), None, "{name}: {end}");
        let bytes = |key: &str| json::int(&document, key).and_then(|n| usize::try_from(n).ok());
        if recording.client_sends(0) {
            // What the server reports, whatever this end counted.
            let theirs = recording.results_of_server();
            assert_eq!(
                bytes("/end/streams/0/receiver/bytes"),
                theirs,
                "{name}: {end}"
            );
            assert!(
                bytes("/end/sum_sent/bytes") >= Some(received),
                "{name}: {end}"
            );
        } else {
            assert_eq!(received, 0);
            assert!(bytes("/end/sum_received/bytes") > Some(0), "{name}: {end}");
        }
    }
}

impl Recording {
    /// The bytes of the first stream, as the server counted them.
    fn results_of_server(&self) -> Option<usize> {
        let mut results = self.entries.iter().filter(|e| e.kind == "results");
        let entry = results.find(|entry| !entry.to_server)?;
        let results: Value = serde_json::from_slice(&entry.bytes[4..]).ok()?;
        usize::try_from(json::int(&results, "/streams/0/bytes")?).ok()
    }
}

/// Accepts a connection as a VMM does.
fn accept(listener: &UnixListener) -> Raw<UnixStream> {
    let stream = wait_for(HANG, || listener.accept().ok()).expect("a connection");
    stream.0.set_nonblocking(false).expect("a blocking socket");
    let mut connection = Raw(stream.0);
    let expected = format!("CONNECT {PORT}\n");
    let mut line = vec![0; expected.len()];
    connection.read_exact(&mut line, HANG).expect("a line");
    assert_eq!(String::from_utf8_lossy(&line), expected);
    connection.send(b"OK 1073741824\n");
    connection
        .read_exact(&mut [0; COOKIE], HANG)
        .expect("a cookie");
    connection
}

/// Walks through a recording in the server's place: the bytes that were received as data before the end.
fn play_server(recording: &Recording, listener: &UnixListener) -> usize {
    let mut control = accept(listener);
    let mut data: Vec<UnixStream> = Vec::new();
    let mut received = 0;
    for entry in &recording.entries {
        match (entry.to_server, entry.kind.as_str()) {
            (true, "cookie") => {}
            (true, "params") => {
                let ours: Value = serde_json::from_str(&control.expect_json()).expect("JSON");
                let theirs: Value = serde_json::from_slice(&entry.bytes[4..]).expect("JSON");
                for (key, value) in theirs.as_object().expect("an object") {
                    if key != "client_version" {
                        assert_eq!(ours.get(key), Some(value), "{key}");
                    }
                }
                assert_eq!(ours.get("tcp"), None);
            }
            (true, "results") => drop(control.expect_json()),
            (true, "TEST_END") => {
                for (index, stream) in data.iter().enumerate() {
                    if recording.client_sends(index) {
                        received += read_some(stream);
                    } else {
                        send_blocks(stream);
                    }
                }
                control.expect(entry.bytes[0]);
                // With bytes unread, and with no word to the client.
                data.clear();
            }
            (true, _) => control.expect(entry.bytes[0]),
            (false, "CREATE_STREAMS") => {
                control.send(&entry.bytes);
                data.extend((0..recording.streams).map(|_| accept(listener).0));
            }
            (false, _) => control.send(&entry.bytes),
        }
    }
    received
}

fn read_some(mut stream: &UnixStream) -> usize {
    stream.set_read_timeout(Some(HANG)).expect("a deadline");
    let mut block = vec![0; BLOCK];
    stream.read_exact(&mut block).expect("a block");
    BLOCK
}

#[test]
fn datagrams_over_vsock_are_refused_as_the_fork_asks_for_them() {
    let recording = Recording::read("vsock-uds-udp-39v");
    let vmm = Vmm::start(HalfClose::Passed, Duration::ZERO);
    let server = vmm.serve(PORT, "-1");
    let mut control = Raw(UnixStream::connect(vmm.server_file(PORT)).expect("a server"));
    for entry in &recording.entries[..3] {
        if entry.to_server {
            control.send(&entry.bytes);
        } else {
            control.expect(entry.bytes[0]);
        }
    }
    assert_eq!(control.reply(HANG), Reply::State(SERVER_ERROR));
    drop(control);
    let end = server.finish(HANG);
    assert!(end.stderr.contains("error - "), "{end}");
}
