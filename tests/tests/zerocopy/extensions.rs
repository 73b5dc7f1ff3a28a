//! Clients that ask for cases: a server ignores or refuses it, and continues.

use std::fmt;

use iperf_harness::process::limit_address_space;
use iperf_harness::service::serves;
use iperf_harness::wire::{CREATE_STREAMS, PARAMS, RawClient, Reply, SERVER_ERROR};
use iperf_harness::{HANG, Peer, Problems, Server, parallel, procfs};
use serde_json::Value;

use super::lying_servers::GRANTED;

/// The error code of parameters that can't be used.
const RECV_PARAMS: [u8; 8] = [0, 0, 0, 114, 0, 0, 0, 0];

const ADDRESS_SPACE_KIB: u64 = 3 * 1024 * 1024;
const MEMORY_KIB: u64 = 64 * 1024;

/// What a server answers to parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    /// The test goes on as if nothing had been extensions for.
    Plain,
    /// It continues, and verification is granted or not.
    Grants { verify: bool },
    /// They are refused.
    Refusal,
}

/// The value of `extensions`, and the expected answer.
struct Request {
    name: &'static str,
    extensions: String,
    answer: Answer,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Request {
    fn params(&self) -> String {
        let own = format!(",\"extensions\":{}}}", self.extensions);
        PARAMS.replacen('}', &own, 1)
    }

    /// The server's answer to the parameters.
    fn answer(client: &mut RawClient) -> Result<Answer, String> {
        match client.control.reply(HANG) {
            Reply::State(CREATE_STREAMS) => Ok(Answer::Plain),
            Reply::State(GRANTED) => {
                let granted: Value = serde_json::from_str(&client.control.expect_json())
                    .map_err(|e| format!("what is granted is no JSON: {e}"))?;
                client.control.expect(CREATE_STREAMS);
                let verify = granted["verify"].as_bool().ok_or("no \"verify\"")?;
                Ok(Answer::Grants { verify })
            }
            Reply::State(SERVER_ERROR) => {
                let mut code = [0; 8];
                let read = client.control.read_exact(&mut code, HANG);
                read.map_err(|e| format!("the code of an error: {e}"))?;
                if code == RECV_PARAMS {
                    Ok(Answer::Refusal)
                } else {
                    Err(format!("code {code:?}"))
                }
            }
            other => Err(format!("{other:?}")),
        }
    }
}

fn request(name: &'static str, extensions: impl Into<String>, answer: Answer) -> Request {
    Request {
        name,
        extensions: extensions.into(),
        answer,
    }
}

/// Values that are ignored, or granted in part.
fn ignored() -> Vec<Request> {
    let granted = Answer::Grants { verify: false };
    vec![
        request("a number", "5", Answer::Plain),
        request("a string", "\"zerocopy\"", Answer::Plain),
        request("an array", "[{\"verify\":true}]", Answer::Plain),
        request("null", "null", Answer::Plain),
        request("true", "true", Answer::Plain),
        request("nothing", "{}", granted),
        request(
            "unknown extensions",
            r#"{"teleport":{"now":[1,2]},"verify":0}"#,
            granted,
        ),
        request("modes that are a number", r#"{"zerocopy":5}"#, granted),
        request(
            "modes that are an array",
            r#"{"zerocopy":["msg","mmap"]}"#,
            granted,
        ),
        request(
            "names that are numbers",
            r#"{"zerocopy":{"send":1,"receive":{}}}"#,
            granted,
        ),
        request(
            "verification that is a string",
            r#"{"verify":"true"}"#,
            granted,
        ),
        request("verification that is a number", r#"{"verify":1}"#, granted),
        request(
            "verification",
            r#"{"verify":true}"#,
            Answer::Grants { verify: true },
        ),
        request(
            "verification of discarded bytes",
            r#"{"zerocopy":{"receive":"trunc"},"verify":true}"#,
            granted,
        ),
        request(
            "twice",
            r#"{"verify":true,"verify":false}"#,
            Answer::Grants { verify: true },
        ),
        request(
            "nested and closed",
            r#"{"zerocopy":"#.repeat(300) + "1" + &"}".repeat(300),
            granted,
        ),
    ]
}

/// Values that are refused.
fn refused() -> Vec<Request> {
    vec![
        request(
            "an unknown mode of sending",
            r#"{"zerocopy":{"send":"telepathy"}}"#,
            Answer::Refusal,
        ),
        request(
            "an unknown mode of receiving",
            r#"{"zerocopy":{"receive":""}}"#,
            Answer::Refusal,
        ),
        request(
            "a mode of the other direction",
            r#"{"zerocopy":{"send":"mmap"}}"#,
            Answer::Refusal,
        ),
        request(
            "a choice instead of a mode",
            r#"{"zerocopy":{"receive":"auto"}}"#,
            Answer::Refusal,
        ),
        request(
            "a huge name",
            format!(r#"{{"zerocopy":{{"send":"{}"}}}}"#, "msg".repeat(2000)),
            Answer::Refusal,
        ),
        request(
            "a name with control characters",
            "{\"zerocopy\":{\"send\":\"\\u0000\\u001b[31m\"}}",
            Answer::Refusal,
        ),
        request(
            "nested and not closed",
            "[".repeat(6000) + &"]".repeat(1000),
            Answer::Refusal,
        ),
    ]
}

#[test]
fn invalid_extensions_are_ignored_or_refused_and_the_server_continues() {
    let cases: Vec<_> = [ignored(), refused()].into_iter().flatten().collect();
    parallel::each(&cases, 8, |request| {
        let server = Server::start_with(Peer::Ours, &[], |command| {
            limit_address_space(&command, ADDRESS_SPACE_KIB)
        });
        let before = procfs::resident_kib(server.id());
        let mut client = RawClient::up_to_params(server.port());
        client.control.send_json(&request.params());
        let answer = Request::answer(&mut client);
        let mut f = Problems::new();
        f.equal("the answer", answer, Ok(request.answer));
        // It is still there while the next one is served.
        let served = serves(server.port(), Peer::Ours, HANG);
        f.holds(format!("the server continues: {served:?}"), served.is_ok());
        let grown = procfs::resident_kib(server.id()).saturating_sub(before);
        f.holds(format!("it grew by {grown} KiB"), grown < MEMORY_KIB);
        drop(client);
        f.into_result(server.stop())
    });
}

/// Every mode that a client can name runs over every transport, whether or not it is useful there.
#[test]
fn modes_that_a_transport_lacks_are_copies() {
    let server = Server::start(Peer::Ours, &[]);
    for (send, receive) in [("splice", "mmap"), ("sendfile", "splice"), ("msg", "trunc")] {
        let params = PARAMS
            .replace("\"tcp\"", "\"udp\"")
            .replace("131072", "1000")
            .replacen(
                '}',
                &format!(
                    r#","extensions":{{"zerocopy":{{"send":"{send}","receive":"{receive}"}}}}}}"#
                ),
                1,
            );
        let mut client = RawClient::up_to_params(server.port());
        client.control.send_json(&params);
        let answer = Request::answer(&mut client);
        assert_eq!(answer, Ok(Answer::Grants { verify: false }), "{send}");
        drop(client);
    }
    serves(server.port(), Peer::Ours, HANG).unwrap();
}
