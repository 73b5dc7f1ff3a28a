//! Signs of life between two ends of this program, and their absence towards everybody else.

use std::time::{Duration, Instant};

use iperf_model::{TestConfig, Transport};
use iperf_proto::Machine as _;
use iperf_proto::alive::{PERIOD, SIGN, SILENCE};
use iperf_proto::framing::frame;
use iperf_proto::{Client, Cookie, Deadlines, Granted, Params, Results, Server, client, server};

/// Both ends of a running test, and what is on its way.
pub(crate) struct Running {
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) now: Instant,
}

pub(crate) fn running(granted: Option<&Granted>) -> Running {
    let now = Instant::now();
    let params = Params::from_test(&TestConfig::new(Transport::Tcp));
    let json = params.to_json();
    assert!(Params::parse(json.as_bytes()).unwrap().is_ours());
    let mut server = Server::new(Deadlines::server(), now);
    let mut client = Client::new(
        Cookie::from_random([1; 36]),
        params,
        Deadlines::client(),
        now,
    );
    server.handle_input(&frame(&json), now);
    server.accept(granted, now);
    client.handle_input(&server.poll_transmit().unwrap(), now);
    client.streams_opened(now);
    server.streams_ready(now);
    client.handle_input(&server.poll_transmit().unwrap(), now);
    client.poll_transmit();
    while client.poll_action().is_some() {}
    while server.poll_action().is_some() {}
    Running {
        client,
        server,
        now,
    }
}

pub(crate) fn granted() -> Granted {
    Granted::for_test(&TestConfig::new(Transport::Tcp), false)
}

impl Running {
    /// Lets a second pass at the chosen ends.
    fn second(&mut self, client: bool, server: bool) -> [Option<Vec<u8>>; 2] {
        self.now += Duration::from_secs(1);
        let mut sent = [None, None];
        if client {
            self.client.handle_timeout(self.now);
            sent[0] = self.client.poll_transmit();
        }
        if server {
            self.server.handle_timeout(self.now);
            sent[1] = self.server.poll_transmit();
        }
        sent
    }
}

#[test]
fn a_test_runs_as_long_as_both_ends_send_heartbeats() {
    let mut test = running(Some(&granted()));
    let mut signs = 0;
    for _ in 0..3600 {
        let [from_client, from_server] = test.second(true, true);
        assert_eq!(from_client, from_server);
        if let (Some(up), Some(down)) = (from_client, from_server) {
            assert_eq!((&up[..], &down[..]), (&[SIGN][..], &[SIGN][..]));
            test.server.handle_input(&up, test.now);
            test.client.handle_input(&down, test.now);
            signs += 1;
        }
    }
    assert_eq!(signs, 3600 / PERIOD.as_secs());
    assert_eq!(test.client.poll_action(), None);
    assert_eq!(test.server.poll_action(), None);
}

#[test]
fn a_silent_peer_ends_the_test_within_a_minute() {
    let mut test = running(Some(&granted()));
    let start = test.now;
    while test.client.poll_action().is_none() {
        test.second(true, false);
    }
    assert_eq!(test.now - start, SILENCE);
    let mut test = running(Some(&granted()));
    let start = test.now;
    let failure = loop {
        test.second(false, true);
        if let Some(server::Action::Fail(failure)) = test.server.poll_action() {
            break failure;
        }
    };
    assert_eq!(test.now - start, SILENCE);
    assert!(SILENCE < Duration::from_secs(60));
    assert_eq!(failure.to_string(), "the client has been silent for 40 s");
}

#[test]
fn a_heartbeat_that_crosses_the_end_is_ignored() {
    let mut test = running(Some(&granted()));
    test.client.end_test(test.now);
    test.client.poll_transmit();
    test.client.handle_input(&[SIGN, 13], test.now);
    assert_eq!(
        test.client.poll_action(),
        Some(client::Action::CollectResults)
    );
    let results = r#"{"cpu_util_total":1,"cpu_util_user":1,"cpu_util_system":0,
        "sender_has_retransmits":-1,"streams":[]}"#;
    let results = Results::parse(results.as_bytes()).unwrap();
    test.client.send_results(&results, test.now);
    // From the end of the test on there are other limits.
    assert_eq!(
        test.client.poll_timeout(),
        Some(test.now + Deadlines::client().results)
    );
}

#[test]
fn no_other_peer_gets_a_heartbeat() {
    let old = Granted {
        alive: false,
        ..granted()
    };
    for granted in [None, Some(&old)] {
        let mut test = running(granted);
        assert_eq!(test.client.poll_timeout(), None);
        assert_eq!(test.server.poll_timeout(), None);
        for _ in 0..3600 {
            assert_eq!(test.second(true, true), [None, None]);
        }
        test.client.handle_input(&[SIGN], test.now);
        test.server.handle_input(&[SIGN], test.now);
        assert!(matches!(
            test.client.poll_action(),
            Some(client::Action::Fail(client::Failure::UnknownMessage(65)))
        ));
        assert!(matches!(
            test.server.poll_action(),
            Some(server::Action::Fail(server::Failure::UnknownMessage(65)))
        ));
    }
    let iperf3 = Params::parse(br#"{"tcp":true,"client_version":"3.22"}"#).unwrap();
    assert!(!iperf3.is_ours());
}
