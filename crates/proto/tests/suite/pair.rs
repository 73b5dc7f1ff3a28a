//! A client and a server in memory, with drivers that do what real ones do, in virtual time.

use std::time::{Duration, Instant};

use iperf_model::{
    ByteTotals, CpuUsage, DatagramTotals, Detail, RunTotals, ServerOutput, StreamOutcome, Summary,
    TcpTotals, TestConfig, Transport,
};
use iperf_proto::Machine as _;
use iperf_proto::alive::PERIOD;
use iperf_proto::{
    Client, Code, Cookie, Deadlines, Granted, Params, Results, Server, client, server, stream_id,
    summarize,
};

/// A command by which a server's driver turns a test down.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    Code(Code, i32),
    Busy,
}

pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) now: Instant,
    pub(crate) test: TestConfig,
    /// What the server understood.
    pub(crate) server_test: Option<TestConfig>,
    /// What the server's driver answers to the parameters, if it does not accept.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) server_output: Option<ServerOutput>,
    /// Bytes per delivery.
    pub(crate) chunk: usize,
    /// The server starts the test before the client's driver reports that its streams are open.
    pub(crate) early_start: bool,
    /// The action that its driver does not answer: the test stops there.
    pub(crate) freeze: Option<&'static str>,
    pub(crate) log: Vec<String>,
    pub(crate) client_failure: Option<client::Failure>,
    pub(crate) server_failure: Option<server::Failure>,
    pub(crate) peer_results: Option<Results>,
    pub(crate) client_summary: Option<Summary>,
    pub(crate) server_summary: Option<Summary>,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    streams_arrived: bool,
}

impl Pair {
    pub(crate) fn new(test: TestConfig) -> Self {
        let now = Instant::now();
        let params = Params::from_test(&test);
        let cookie = Cookie::from_random([7; 36]);
        let mut client = Client::new(cookie.clone(), params, Deadlines::client(), now);
        // The cookie is read before there is a server machine.
        assert_eq!(client.poll_transmit().unwrap(), cookie.as_bytes());
        Self {
            client,
            server: Server::new(Deadlines::server(), now),
            now,
            test,
            server_test: None,
            refusal: None,
            server_output: None,
            chunk: usize::MAX,
            early_start: false,
            freeze: None,
            log: Vec::new(),
            client_failure: None,
            server_failure: None,
            peer_results: None,
            client_summary: None,
            server_summary: None,
            to_server: Vec::new(),
            to_client: Vec::new(),
            streams_arrived: false,
        }
    }

    pub(crate) fn frozen_at(test: TestConfig, action: &'static str) -> Self {
        let mut pair = Self::new(test);
        pair.freeze = Some(action);
        pair.drive();
        assert_eq!(pair.log.last().map(String::as_str), Some(action));
        pair.log.clear();
        pair
    }

    /// Lets everything happen that can happen without the passing of time.
    pub(crate) fn drive(&mut self) {
        loop {
            self.to_server
                .extend(self.client.poll_transmit().unwrap_or_default());
            self.to_client
                .extend(self.server.poll_transmit().unwrap_or_default());
            let action = self.client.poll_action();
            if let Some(action) = action {
                self.on_client_action(action);
                continue;
            }
            if let Some(action) = self.server.poll_action() {
                self.on_server_action(action);
                continue;
            }
            if !self.to_server.is_empty() {
                let bytes = take(&mut self.to_server, self.chunk);
                self.server.handle_input(&bytes, self.now);
            } else if !self.to_client.is_empty() {
                let bytes = take(&mut self.to_client, self.chunk);
                self.client.handle_input(&bytes, self.now);
            } else {
                return;
            }
        }
    }

    /// What both ends have sent and not read.
    pub(crate) fn undelivered(&self) -> usize {
        self.to_server.len() + self.to_client.len()
    }

    fn is_frozen(&mut self, who: &str, what: &str) -> bool {
        let event = format!("{who} {what}");
        let frozen = self.freeze == Some(event.as_str());
        self.log.push(event);
        frozen
    }

    fn on_client_action(&mut self, action: client::Action) {
        if self.is_frozen("client", client_name(&action)) {
            return;
        }
        match action {
            client::Action::ParamsSent
            | client::Action::StartClock
            | client::Action::Granted(_) => {}
            client::Action::OpenStreams => {
                assert_eq!(self.client.poll_timeout(), None);
                self.streams_arrived = true;
                if self.early_start {
                    self.server.streams_ready(self.now);
                    let early = self.server.poll_transmit().unwrap();
                    self.client.handle_input(&early, self.now);
                    assert_eq!(self.client.poll_action(), None, "streams are not open yet");
                }
                self.client.streams_opened(self.now);
                self.server.streams_ready(self.now);
            }
            client::Action::Run => {
                // The test has no limit but that its ends give signs of life, where they agreed to.
                let sign = self.now + PERIOD;
                for timeout in [self.client.poll_timeout(), self.server.poll_timeout()] {
                    assert!(timeout.is_none_or(|at| at == sign), "{timeout:?}");
                }
                self.now += Duration::from_secs(3600);
                self.client.end_test(self.now);
            }
            client::Action::CollectResults => {
                let results = Results::from_totals(&totals(&self.test, true), &self.test, None);
                self.client.send_results(&results, self.now);
            }
            client::Action::ShowResults(results) => {
                let totals = totals(&self.test, true);
                let summary = summarize(&totals, &self.test, Some(&results)).unwrap();
                self.client_summary = Some(summary);
                self.peer_results = Some(*results);
                self.client.finish();
            }
            client::Action::Counts(_) => panic!("no counts are sent here"),
            client::Action::Fail(failure) => self.client_failure = Some(failure),
        }
    }

    fn on_server_action(&mut self, action: server::Action) {
        if self.is_frozen("server", server_name(&action)) {
            return;
        }
        match action {
            server::Action::Params(params) => {
                self.server_test = Some(params.to_test().unwrap());
                match self.refusal {
                    None => {
                        let granted = params
                            .extensions
                            .as_ref()
                            .map(|_| Granted::for_test(&self.test, false));
                        self.server.accept(granted.as_ref(), self.now);
                    }
                    Some(Refusal::Code(code, errno)) => {
                        self.server.refuse(code, errno, Some("explained"));
                    }
                    Some(Refusal::Busy) => self.server.deny(),
                }
            }
            server::Action::EndTest => self.server.exchange_results(self.now),
            server::Action::PeerResults(results) => {
                let test = self.server_test.clone().unwrap();
                let totals = totals(&test, false);
                let summary = summarize(&totals, &test, Some(&results)).unwrap();
                self.server_summary = Some(summary);
                let results = Results::from_totals(&totals, &test, self.server_output.clone());
                self.server.send_results(&results, self.now);
            }
            server::Action::Done | server::Action::ClientTerminated => {}
            server::Action::Counts(_) => panic!("no counts are sent here"),
            server::Action::Fail(failure) => self.server_failure = Some(failure),
        }
    }
}

fn take(bytes: &mut Vec<u8>, most: usize) -> Vec<u8> {
    let end = bytes.len().min(most);
    bytes.drain(..end).collect()
}

fn client_name(action: &client::Action) -> &'static str {
    match action {
        client::Action::ParamsSent => "ParamsSent",
        client::Action::Granted(_) => "Granted",
        client::Action::OpenStreams => "OpenStreams",
        client::Action::StartClock => "StartClock",
        client::Action::Run => "Run",
        client::Action::CollectResults => "CollectResults",
        client::Action::ShowResults(_) => "ShowResults",
        client::Action::Counts(_) => "Counts",
        client::Action::Fail(_) => "Fail",
    }
}

fn server_name(action: &server::Action) -> &'static str {
    match action {
        server::Action::Params(_) => "Params",
        server::Action::EndTest => "EndTest",
        server::Action::PeerResults(_) => "PeerResults",
        server::Action::Done => "Done",
        server::Action::ClientTerminated => "ClientTerminated",
        server::Action::Counts(_) => "Counts",
        server::Action::Fail(_) => "Fail",
    }
}

/// What one end of an imaginary test counted: other numbers for each stream, and fewer at the receiver.
pub(crate) fn totals(test: &TestConfig, is_client: bool) -> RunTotals {
    let offset = if is_client { 0.0 } else { 10.0 };
    RunTotals {
        one_way: None,
        limits: Vec::new(),
        duration: Duration::from_micros(if is_client { 10_000_123 } else { 10_000_456 }),
        cpu: CpuUsage {
            total: offset + 3.5,
            user: offset + 1.25,
            system: offset + 2.25,
        },
        checksum_errors: None,
        congestion: test
            .transport
            .is_tcp()
            .then(|| if is_client { "cubic" } else { "bbr" }.to_owned()),
        streams: (0..test.total_streams())
            .map(|index| stream_totals(test, is_client, index))
            .collect(),
    }
}

fn stream_totals(test: &TestConfig, is_client: bool, index: usize) -> StreamOutcome {
    let n = index as u64;
    let role = test.role_on(index, is_client);
    let sending = role.sends();
    StreamOutcome {
        id: stream_id(index),
        socket: 5 + 2 * i32::try_from(index).unwrap(),
        role,
        bytes: 1_000_000 * (n + 1) - if sending { 0 } else { 999 },
        detail: if test.transport == Transport::Udp {
            Detail::Datagrams(datagram_totals(test.omit > 0, sending, n))
        } else {
            Detail::Bytes(ByteTotals {
                tcp: (test.transport.is_tcp() && sending).then(|| TcpTotals {
                    retransmits: 7 + n,
                    reorder: 1,
                    ..TcpTotals::default()
                }),
                low_water: None,
            })
        },
        file: None,
        copies: None,
        io: None,
    }
}

fn datagram_totals(omitted: bool, sending: bool, n: u64) -> DatagramTotals {
    let mut totals = DatagramTotals {
        packets: 1000 + n - if sending { 0 } else { 2 },
        omitted_packets: if omitted { 100 } else { 0 },
        omitted_lost: Some(0),
        ..DatagramTotals::default()
    };
    if !sending {
        totals.lost = 5;
        totals.omitted_lost = Some(if omitted { 2 } else { 0 });
        totals.out_of_order = 3;
        totals.jitter = 0.001 * (n + 1) as f64;
    }
    totals
}
