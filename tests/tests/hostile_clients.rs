//! Clients that stall, lie or send garbage. None of them may crash, hang or exhaust a server.
//!
//! A server must serve a good client within seconds *while* a broken one is still connected: a
//! stalled client must not block others.

use std::any::Any;
use std::fmt;
use std::thread;
use std::time::Duration;

use iperf_harness::process::limit_address_space;
use iperf_harness::service::serves;
use iperf_harness::wire::{
    CREATE_STREAMS, PARAM_EXCHANGE, PARAMS, RESULTS, Raw, RawClient, TEST_END, TEST_RUNNING,
    TEST_START, framed,
};
use iperf_harness::{Peer, Problems, Server, parallel, procfs};

/// A good client must be served within this time.
const SERVED_WITHIN: Duration = Duration::from_secs(20);

/// A server may grow this much for a broken client.
const MEMORY_KIB: u64 = 64 * 1024;

/// Its address space, in KiB: a server that allocates 4 GiB because a peer announced them dies.
const ADDRESS_SPACE_KIB: u64 = 3 * 1024 * 1024;

/// What a broken client keeps open while it stalls.
type KeptOpen = Box<dyn Any + Send>;

/// A broken client: how it gets to the point where it stalls.
struct BrokenClient {
    name: &'static str,
    act: fn(u16) -> KeptOpen,
}

impl fmt::Display for BrokenClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn broken(name: &'static str, act: fn(u16) -> KeptOpen) -> BrokenClient {
    BrokenClient { name, act }
}

/// Connects and sends these bytes.
fn sends(port: u16, bytes: &[u8]) -> KeptOpen {
    let mut raw = Raw::connect(port);
    raw.send(bytes);
    Box::new(raw)
}

/// Gets to the parameters and sends these bytes there.
fn answers(port: u16, bytes: &[u8]) -> KeptOpen {
    let mut client = RawClient::up_to_params(port);
    client.control.send(bytes);
    Box::new(client)
}

/// Gets to the parameters and sends this JSON.
fn requests(port: u16, params: &str) -> KeptOpen {
    let mut client = RawClient::up_to_params(port);
    client.control.send_json(params);
    Box::new(client)
}

/// Gets to the results and sends these bytes there.
fn results_in(port: u16, bytes: &[u8]) -> KeptOpen {
    let mut client = RawClient::up_to_results(port);
    client.control.send(bytes);
    Box::new(client)
}

/// A test of several streams of which only some connections are opened.
fn opens_some(port: u16, streams: usize) -> KeptOpen {
    let params = PARAMS.replace("\"parallel\":1", "\"parallel\":4");
    let mut client = RawClient::up_to_streams(port, &params);
    for _ in 0..streams {
        client.open_data();
    }
    Box::new(client)
}

fn broken_clients() -> Vec<BrokenClient> {
    [
        in_the_cookie(),
        in_the_parameters(),
        in_the_test(),
        in_the_results(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn in_the_cookie() -> Vec<BrokenClient> {
    vec![
        broken("sends nothing", |port| sends(port, b"")),
        broken("stops in the cookie", |port| sends(port, b"abcdefghij")),
        broken("200 connections send nothing", |port| {
            Box::new((0..200).map(|_| Raw::connect(port)).collect::<Vec<_>>())
        }),
        broken("200 connections stop in the cookie", |port| {
            Box::new((0..200).map(|_| sends(port, b"abc")).collect::<Vec<_>>())
        }),
        broken("garbage", |port| sends(port, &[0x9e; 4096])),
        broken("an HTTP request", |port| {
            sends(
                port,
                b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: test\r\n\r\n",
            )
        }),
        broken("a TLS ClientHello", |port| {
            let mut bytes = vec![
                0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03,
            ];
            bytes.extend([0x5a; 506]);
            sends(port, &bytes)
        }),
    ]
}

fn in_the_parameters() -> Vec<BrokenClient> {
    vec![
        broken("no parameters", |port| answers(port, b"")),
        broken("stops in the length", |port| answers(port, &[0, 0])),
        broken("stops in the parameters", |port| {
            answers(port, b"\0\0\0\x90{\"tcp\":true,")
        }),
        broken("length 0", |port| answers(port, &[0; 4])),
        broken("length 4 GiB", |port| answers(port, &[0xff; 4])),
        broken("length 2 GiB and some of it", |port| {
            answers(
                port,
                &[&[0x7f, 0xff, 0xff, 0xff][..], &vec![b' '; 65_536][..]].concat(),
            )
        }),
        broken("parameters that are no JSON", |port| {
            requests(port, "{\"tcp\":tru")
        }),
        broken("parameters that are an array", |port| {
            requests(port, "[1,2,3]")
        }),
        broken("parameters that nest", |port| {
            requests(port, &"[".repeat(8192))
        }),
        broken("parameters of wrong types", |port| {
            requests(
                port,
                r#"{"tcp":"x","time":"1","title":5,"len":[],"parallel":{},"congestion":null}"#,
            )
        }),
        broken("parameters out of any range", |port| {
            requests(
                port,
                r#"{"tcp":true,"time":1e300,"parallel":2147483648,"len":-9223372036854775808,"num":1e999}"#,
            )
        }),
    ]
}

fn in_the_test() -> Vec<BrokenClient> {
    vec![
        broken("128 streams never opened", |port| {
            requests(port, &PARAMS.replace("\"parallel\":1", "\"parallel\":128"))
        }),
        broken("no data connections", |port| {
            Box::new(RawClient::up_to_streams(port, PARAMS))
        }),
        broken("half of the data connections", |port| opens_some(port, 2)),
        broken("a data connection without a cookie", |port| {
            let mut client = RawClient::up_to_streams(port, PARAMS);
            client.open_data_with(b"");
            Box::new(client)
        }),
        broken("a data connection stops in the cookie", |port| {
            let mut client = RawClient::up_to_streams(port, PARAMS);
            let half = client.cookie()[..10].to_vec();
            client.open_data_with(&half);
            Box::new(client)
        }),
        broken("a data connection with another cookie", |port| {
            let mut client = RawClient::up_to_streams(port, PARAMS);
            client.open_data_with(&[b'q'; 37]);
            Box::new(client)
        }),
        broken("more data connections than it announced", |port| {
            let mut client = RawClient::up_to_running(port, PARAMS, 1);
            for _ in 0..20 {
                client.open_data();
            }
            client.control.send(&[TEST_END]);
            Box::new(client)
        }),
        broken("sends no data", |port| {
            Box::new(RawClient::up_to_running(port, PARAMS, 1))
        }),
        broken("never reads what it requested", |port| {
            let params = PARAMS.replace("\"bandwidth\":1000000", "\"reverse\":true");
            Box::new(RawClient::up_to_running(port, &params, 1))
        }),
        broken("never reads and ends the test", |port| {
            let params = PARAMS.replace("\"bandwidth\":1000000", "\"reverse\":true");
            let mut client = RawClient::up_to_running(port, &params, 1);
            thread::sleep(Duration::from_millis(300));
            client.control.send(&[TEST_END]);
            Box::new(client)
        }),
        broken("closes its data connection", |port| {
            let mut client = RawClient::up_to_running(port, PARAMS, 1);
            client.data.clear();
            Box::new(client)
        }),
        broken("an unknown state while the test runs", |port| {
            let mut client = RawClient::up_to_running(port, PARAMS, 1);
            client.control.send(&[99]);
            Box::new(client)
        }),
        broken("states of a server", |port| {
            let mut client = RawClient::up_to_running(port, PARAMS, 1);
            client
                .control
                .send(&[PARAM_EXCHANGE, CREATE_STREAMS, TEST_START, TEST_RUNNING]);
            Box::new(client)
        }),
    ]
}

fn in_the_results() -> Vec<BrokenClient> {
    vec![
        broken("no results", |port| results_in(port, b"")),
        broken("stops in the results", |port| {
            results_in(port, &framed(RESULTS)[..50])
        }),
        broken("results of 4 GiB", |port| results_in(port, &[0xff; 4])),
        broken("results of length 0", |port| results_in(port, &[0; 4])),
        broken("results that are no JSON", |port| {
            results_in(port, &framed("}{"))
        }),
        broken("results that nest", |port| {
            results_in(port, &framed(&"[".repeat(1 << 20)))
        }),
        broken("results without streams", |port| {
            results_in(port, &framed("{\"cpu_util_total\":0}"))
        }),
        broken("results of unknown streams", |port| {
            results_in(port, &framed(&RESULTS.replace("\"id\":1", "\"id\":77")))
        }),
        broken("results of 50000 streams", |port| {
            let one =
                "{\"id\":1,\"bytes\":0,\"retransmits\":0,\"jitter\":0,\"errors\":0,\"packets\":0}";
            let many = vec![one; 50_000].join(",");
            let head = RESULTS.split("\"streams\"").next().unwrap_or("");
            results_in(port, &framed(&format!("{head}\"streams\":[{many}]}}")))
        }),
        broken("results beyond numbers", |port| {
            results_in(
                port,
                &framed(
                    &RESULTS
                        .replace("\"bytes\":0", "\"bytes\":1e308")
                        .replace("\"end_time\":1", "\"end_time\":-1"),
                ),
            )
        }),
        broken("is not done after the results", |port| {
            results_in(port, &framed(RESULTS))
        }),
    ]
}

#[test]
fn a_stalled_client_blocks_no_other_client() {
    parallel::each(&broken_clients(), 6, |broken| {
        let mut server = Server::start_with(Peer::Ours, &[], |command| {
            limit_address_space(&command, ADDRESS_SPACE_KIB)
        });
        serves(server.port(), Peer::Ours, SERVED_WITHIN)?;
        let memory = procfs::resident_kib(server.id());

        let held = (broken.act)(server.port());
        let mut f = Problems::new();
        for client in [Peer::Ours, Peer::Old] {
            if let Err(report) = serves(server.port(), client, SERVED_WITHIN) {
                f.add(format!("while it stalls: {report}"));
                break;
            }
        }
        f.holds("the server lives", server.process.is_alive());
        if server.process.is_alive() {
            let grown = procfs::resident_kib(server.id()).saturating_sub(memory);
            f.holds(
                format!("the server grew by {grown} KiB"),
                grown < MEMORY_KIB,
            );
        }
        drop(held);
        if let Err(report) = serves(server.port(), Peer::New, SERVED_WITHIN) {
            f.add(format!("after it has gone: {report}"));
        }
        f.into_result(server.stop())
    });
}
