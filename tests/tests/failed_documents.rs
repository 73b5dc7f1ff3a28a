//! The document of a failed test has the members of 3.22's, at whatever point the client's test fails.

use std::fmt;
use std::os::fd::AsRawFd;
use std::time::Duration;

use iperf_harness::pair::words;
use iperf_harness::port::Port;
use iperf_harness::wire::{
    ACCESS_DENIED, CREATE_STREAMS, RawServer, SERVER_ERROR, Stage, TEST_RUNNING, TEST_START,
};
use iperf_harness::{HANG, Peer, Problems, Running, parallel, shape};
use nix::sys::socket::{Shutdown, shutdown};
use serde_json::Value;

/// A test that fails.
struct Failing {
    name: &'static str,
    args: &'static str,
    /// What the server does; nothing listens without it.
    act: Option<fn(&mut Stage)>,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.args)
    }
}

impl Failing {
    fn document(&self, peer: Peer) -> (Value, String) {
        let (server, unused);
        let port = if let Some(act) = self.act {
            server = RawServer::start(act);
            server.port()
        } else {
            unused = Port::reserve();
            unused.number()
        };
        let mut command = peer.command();
        command
            .args(["-J", "-c", "127.0.0.1", "-p", &port.to_string()])
            .args(words(self.args));
        let end = Running::start(command).finish(HANG);
        let document = end.document();
        (document, end.to_string())
    }
}

/// Requests the streams and refuses them.
fn refuse_streams(stage: &mut Stage) {
    stage.take_params();
    // Before the client learns that it may connect. The port is kept: another test could take it.
    shutdown(stage.listener.as_raw_fd(), Shutdown::Both).expect("stop listening");
    stage.control.send(&[CREATE_STREAMS]);
    stage.stall();
}

const ERROR: [u8; 9] = [SERVER_ERROR, 0, 0, 0, 37, 0, 0, 0, 0];

fn failing() -> Vec<Failing> {
    let case = |name, args, act| Failing { name, args, act };
    let mut cases = vec![
        case(
            "closed after the streams began",
            "-t 5 -b 1M",
            Some(|stage| {
                stage.take_params();
                stage.take_stream();
                stage.control.send(&[TEST_START, TEST_RUNNING]);
                std::thread::sleep(Duration::from_millis(300));
            }),
        ),
        case(
            "an error in place of the start",
            "-t 1",
            Some(|stage| {
                stage.take_params();
                stage.take_stream();
                stage.control.send(&ERROR);
                stage.stall();
            }),
        ),
        case(
            "the first stream is refused",
            "-t 1 -w 64K",
            Some(refuse_streams),
        ),
        case(
            "the first stream is refused",
            "-t 1 -P 2 -R",
            Some(refuse_streams),
        ),
    ];
    for args in ["-t 1", "-t 1 -u", "-t 1 --bidir -P 2", "-n 1M -O 1"] {
        cases.push(case("nothing listens", args, None));
        cases.push(case(
            "busy",
            args,
            Some(|stage| stage.control.send(&[ACCESS_DENIED])),
        ));
        cases.push(case("closed after the cookie", args, Some(|_| {})));
        cases.push(case(
            "closed after the parameters",
            args,
            Some(|stage| {
                stage.take_params();
            }),
        ));
        cases.push(case(
            "an error after the parameters",
            args,
            Some(|stage| {
                stage.take_params();
                stage.control.send(&ERROR);
                stage.stall();
            }),
        ));
        cases.push(case(
            "the first stream is refused",
            args,
            Some(refuse_streams),
        ));
    }
    // Its UDP client waits for a reply that the system refuses at once; ours may still connect.
    cases.retain(|case| !(case.args.contains("-u") && case.name.contains("stream")));
    cases
}

#[test]
fn a_failed_test_has_the_members_of_iperf3() {
    parallel::each(&failing(), 8, |failing| {
        let (ours, our_story) = failing.document(Peer::Ours);
        let (theirs, their_story) = failing.document(Peer::New);
        let mut f = Problems::new();
        let lines = |document: &Value| shape::lines(document, &["environment"]);
        for difference in shape::differences(&lines(&ours), &lines(&theirs)) {
            f.add(difference);
        }
        f.holds("there is a document", ours["start"].is_object());
        f.into_result(format!("{our_story}{their_story}"))
    });
}
