//! Clients that ask for nonsense: a server ignores or refuses it, and continues.

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
    /// The test goes on as if nothing had been asked for.
    Plain,
    /// It goes on, and verification is granted or not.
    Grants { verify: bool },
    /// They are refused.
    Refusal,
}

/// The value of `extensions`, and what comes of it.
struct Asked {
    name: &'static str,
    extensions: String,
    answer: Answer,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Asked {
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

fn asked(name: &'static str, extensions: impl Into<String>, answer: Answer) -> Asked {
    Asked {
        name,
        extensions: extensions.into(),
        answer,
    }
}

/// What is passed over, or granted in part.
fn harmless() -> Vec<Asked> {
    let granted = Answer::Grants { verify: false };
    vec![
        asked("a number", "5", Answer::Plain),
        asked("a string", "\"zerocopy\"", Answer::Plain),
        asked("an array", "[{\"verify\":true}]", Answer::Plain),
        asked("null", "null", Answer::Plain),
        asked("true", "true", Answer::Plain),
        asked("nothing", "{}", granted),
        asked(
            "what nobody knows",
            r#"{"teleport":{"now":[1,2]},"verify":0}"#,
            granted,
        ),
        asked("modes that are a number", r#"{"zerocopy":5}"#, granted),
        asked(
            "modes that are an array",
            r#"{"zerocopy":["msg","mmap"]}"#,
            granted,
        ),
        asked(
            "names that are numbers",
            r#"{"zerocopy":{"send":1,"receive":{}}}"#,
            granted,
        ),
        asked(
            "verification that is a string",
            r#"{"verify":"true"}"#,
            granted,
        ),
        asked("verification that is a number", r#"{"verify":1}"#, granted),
        asked(
            "verification",
            r#"{"verify":true}"#,
            Answer::Grants { verify: true },
        ),
        asked(
            "verification of what is dropped",
            r#"{"zerocopy":{"receive":"trunc"},"verify":true}"#,
            granted,
        ),
        asked(
            "twice",
            r#"{"verify":true,"verify":false}"#,
            Answer::Grants { verify: true },
        ),
        asked(
            "what nests and ends",
            r#"{"zerocopy":"#.repeat(300) + "1" + &"}".repeat(300),
            granted,
        ),
    ]
}

/// What is refused.
fn senseless() -> Vec<Asked> {
    vec![
        asked(
            "an unknown way to send",
            r#"{"zerocopy":{"send":"telepathy"}}"#,
            Answer::Refusal,
        ),
        asked(
            "an unknown way to receive",
            r#"{"zerocopy":{"receive":""}}"#,
            Answer::Refusal,
        ),
        asked(
            "a way of the other end",
            r#"{"zerocopy":{"send":"mmap"}}"#,
            Answer::Refusal,
        ),
        asked(
            "a way that is not one",
            r#"{"zerocopy":{"receive":"auto"}}"#,
            Answer::Refusal,
        ),
        asked(
            "a huge name",
            format!(r#"{{"zerocopy":{{"send":"{}"}}}}"#, "msg".repeat(2000)),
            Answer::Refusal,
        ),
        asked(
            "a name with control characters",
            "{\"zerocopy\":{\"send\":\"\\u0000\\u001b[31m\"}}",
            Answer::Refusal,
        ),
        asked(
            "what nests and does not end",
            "[".repeat(6000) + &"]".repeat(1000),
            Answer::Refusal,
        ),
    ]
}

#[test]
fn nonsense_is_passed_over_or_refused_and_the_server_goes_on() {
    let nonsense: Vec<_> = [harmless(), senseless()].into_iter().flatten().collect();
    parallel::each(&nonsense, 8, |asked| {
        let server = Server::start_with(Peer::Ours, &[], |command| {
            limit_address_space(&command, ADDRESS_SPACE_KIB)
        });
        let before = procfs::resident_kib(server.id());
        let mut client = RawClient::up_to_params(server.port());
        client.control.send_json(&asked.params());
        let answer = Asked::answer(&mut client);
        let mut f = Problems::new();
        f.equal("the answer", answer, Ok(asked.answer));
        // It is still there while the next one is served.
        let served = serves(server.port(), Peer::Ours, HANG);
        f.holds(format!("the server goes on: {served:?}"), served.is_ok());
        let grown = procfs::resident_kib(server.id()).saturating_sub(before);
        f.holds(format!("it grew by {grown} KiB"), grown < MEMORY_KIB);
        drop(client);
        f.into_result(server.stop())
    });
}

/// Every mode that a client can name runs over every transport, however little sense it makes.
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
        let answer = Asked::answer(&mut client);
        assert_eq!(answer, Ok(Answer::Grants { verify: false }), "{send}");
        drop(client);
    }
    serves(server.port(), Peer::Ours, HANG).unwrap();
}
