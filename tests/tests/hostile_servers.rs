//! Servers that stall, lie or send garbage. A client must end by itself, with an error and exit code 1.

use std::fmt;
use std::time::Duration;

use iperf_harness::pair::words;
use iperf_harness::process::limit_address_space;
use iperf_harness::wire::{
    DISPLAY_RESULTS, EXCHANGE_RESULTS, RESULTS, RawServer, SERVER_ERROR, Stage, TEST_END,
    TEST_RUNNING, TEST_START, framed,
};
use iperf_harness::{HANG, Peer, Problems, Running, parallel};

/// A client gets no more address space than this: a length of 4 GiB that is believed is fatal.
const ADDRESS_SPACE_KIB: u64 = 3 * 1024 * 1024;

/// A broken server: what it does with a client.
struct BrokenServer {
    name: &'static str,
    act: fn(&mut Stage),
    args: &'static str,
    within: Duration,
}

impl fmt::Display for BrokenServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Lies, and then waits for the client to end.
fn lies(name: &'static str, act: fn(&mut Stage)) -> BrokenServer {
    BrokenServer {
        name,
        act,
        args: "-t 1 -b 10M",
        within: HANG,
    }
}

/// Sends nothing more.
fn stalls(name: &'static str, act: fn(&mut Stage)) -> BrokenServer {
    BrokenServer {
        name,
        act,
        args: "-t 1 -b 10M",
        within: HANG,
    }
}

fn broken_servers() -> Vec<BrokenServer> {
    [closing_servers(), lying_servers(), stalling_servers()]
        .into_iter()
        .flatten()
        .collect()
}

fn closing_servers() -> Vec<BrokenServer> {
    vec![
        lies("closes after the cookie", |_| {}),
        lies("closes in place of asking for streams", |stage| {
            stage.take_params();
        }),
        lies("closes after the streams", |stage| {
            stage.take_params();
            stage.take_stream();
        }),
        lies("closes while the test runs", |stage| {
            stage.take_params();
            stage.take_stream();
            stage.control.send(&[TEST_START, TEST_RUNNING]);
        }),
        lies("closes at the end of the test", Stage::run_test),
        lies("closes in place of its results", |stage| {
            stage.take_results();
        }),
    ]
}

fn lying_servers() -> Vec<BrokenServer> {
    vec![
        lies("an unknown state at the beginning", |stage| {
            stage.control.send(&[99]);
            stage.stall();
        }),
        lies("an unknown state in the test", |stage| {
            stage.take_params();
            stage.take_stream();
            stage.control.send(&[TEST_START, TEST_RUNNING, 0]);
            stage.stall();
        }),
        lies("text in place of states", |stage| {
            stage.control.send(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            stage.stall();
        }),
        lies("an error with a code and nothing more", |stage| {
            stage.take_params();
            stage.control.send(&[SERVER_ERROR, 0, 0, 0, 142]);
        }),
        lies("an error without a code", |stage| {
            stage.take_params();
            stage.control.send(&[SERVER_ERROR]);
        }),
        lies("an error with an unknown code", |stage| {
            stage.take_params();
            stage
                .control
                .send(&[SERVER_ERROR, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        }),
        lies("results of 4 GiB", |stage| {
            stage.take_results();
            stage.control.send(&[0xff; 4]);
            stage.control.send(&vec![b' '; 1 << 20]);
            stage.stall();
        }),
        lies("results of length 0", |stage| {
            stage.take_results();
            stage.control.send(&[0; 4]);
            stage.stall();
        }),
        lies("results that are no JSON", |stage| {
            stage.take_results();
            stage.control.send_json("}{");
            stage.stall();
        }),
        lies("results that nest", |stage| {
            stage.take_results();
            stage.control.send_json(&"[".repeat(1 << 20));
            stage.stall();
        }),
        lies("results of unknown streams", |stage| {
            stage.take_results();
            stage
                .control
                .send_json(&RESULTS.replace("\"id\":1", "\"id\":77"));
            stage.control.send(&[DISPLAY_RESULTS]);
            stage.stall();
        }),
        lies("results before the test", |stage| {
            stage.take_params();
            stage.control.send(&[EXCHANGE_RESULTS]);
            stage.control.send_json("{}");
            stage.stall();
        }),
    ]
}

fn stalling_servers() -> Vec<BrokenServer> {
    vec![
        stalls("sends nothing", Stage::stall),
        stalls("sends nothing after the parameters", |stage| {
            stage.take_params();
            stage.stall();
        }),
        stalls("sends nothing after the streams", |stage| {
            stage.take_params();
            stage.take_stream();
            stage.stall();
        }),
        stalls("sends nothing after the end of the test", |stage| {
            stage.run_test();
            stage.stall();
        }),
        stalls("does not give its results", |stage| {
            stage.take_results();
            stage.stall();
        }),
        stalls("stops in its results", |stage| {
            stage.take_results();
            stage.control.send(&framed(RESULTS)[..50]);
            stage.stall();
        }),
        stalls("stops in an error", |stage| {
            stage.take_params();
            stage.control.send(&[SERVER_ERROR, 0, 0]);
            stage.stall();
        }),
        BrokenServer {
            name: "never reads the data",
            act: |stage| {
                stage.take_params();
                stage.take_stream();
                stage.control.send(&[TEST_START, TEST_RUNNING]);
                stage.control.expect(TEST_END);
            },
            args: "-t 1",
            within: HANG,
        },
        BrokenServer {
            name: "sends no data",
            act: |stage| {
                stage.take_params();
                stage.take_stream();
                stage.control.send(&[TEST_START, TEST_RUNNING]);
                stage.stall();
            },
            args: "-t 600 -R --rcv-timeout 1000",
            within: HANG,
        },
    ]
}

#[test]
fn a_broken_server_ends_its_client_with_an_error() {
    let servers = broken_servers();
    // All at once: those that wait for a deadline would add up.
    parallel::each(&servers, servers.len(), |broken| {
        let server = RawServer::start(broken.act);
        let mut command = Peer::Ours.command();
        command
            .args(["-c", "127.0.0.1", "-p", &server.port().to_string()])
            .args(words(broken.args));
        let client = Running::start(limit_address_space(&command, ADDRESS_SPACE_KIB));
        let end = client.finish(broken.within);
        let mut f = Problems::new();
        f.holds("the client ends by itself", !end.timed_out);
        f.equal("exit code", end.code(), Some(1));
        let name = Peer::Ours.program_name();
        f.holds(
            "it reports why",
            end.stderr.contains(&format!("{name}: error - ")),
        );
        f.into_result(end)
    });
}

/// A client of a short test takes no more than such a test can make, whatever limit it has.
#[test]
fn results_that_no_test_can_make_cost_no_memory() {
    const ROOM_KIB: u64 = 512 * 1024;
    const LENGTH: usize = 60 << 20;
    let ways = ["-n 1M", "-k 1", "-t 1", "-n 1M -J", "-n 1M --json-stream"];
    parallel::each(&ways, 2, |args| {
        let server = RawServer::start(|stage| {
            stage.take_results();
            let (head, tail) = (r#"{"server_output_json":{"a":["#, "0]}}");
            let zeros = "0,".repeat((LENGTH - head.len() - tail.len()) / 2);
            stage.control.send_json(&[head, &zeros, tail].concat());
            stage.control.send(&[DISPLAY_RESULTS]);
            stage.stall();
        });
        let mut command = Peer::Ours.command();
        command
            .args(["-c", "127.0.0.1", "-p", &server.port().to_string()])
            .arg("--get-server-output")
            .args(words(args));
        let client = Running::start(limit_address_space(&command, ROOM_KIB));
        let end = client.finish(HANG);
        let mut f = Problems::new();
        f.equal("exit code", end.code(), Some(1));
        let output = format!("{}{}", end.stdout, end.stderr);
        f.holds(
            "it reports why",
            output.contains("unable to receive results"),
        );
        f.into_result(end)
    });
}
