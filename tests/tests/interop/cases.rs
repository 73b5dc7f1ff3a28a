//! A row of the tables: a client's options, and what is special about the outcome.

use iperf_harness::expectation::Mode;
use iperf_harness::json::{int, list};
use iperf_harness::{Expectation, Outcome, Peer, Problems, pair};
use serde_json::Value;

/// Looks at what is special about a case.
pub(super) type ExtraCheck = fn(&Observed<'_>, &mut Problems);

/// Makes a file that lies in the shared directory.
type Content = fn() -> Vec<u8>;

/// Peers that a case runs with.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Peers {
    All,
    /// 3.12 does not have the option.
    New,
    /// Real clients from 3.16 on never end such a test.
    OurClient,
    /// 3.12 does not have the option, and newer receivers count wrong with it.
    OurReceiver,
}

/// One row of the table.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) client: &'static str,
    pub(super) server: &'static str,
    pub(super) host: &'static str,
    /// The server writes text, not JSON.
    pub(super) text_server: bool,
    pub(super) peers: Peers,
    /// The client warns that its datagrams are larger than a segment of the control connection.
    pub(super) warning: bool,
    pub(super) file: Option<(&'static str, Content)>,
    pub(super) extra: Option<ExtraCheck>,
}

/// What a case looks at.
pub(super) struct Observed<'a> {
    pub(super) outcome: &'a Outcome,
    pub(super) client: &'a Value,
    pub(super) server: &'a Value,
}

pub(super) fn case(name: &'static str, client: &'static str) -> Case {
    Case {
        name,
        client,
        server: "",
        host: "127.0.0.1",
        text_server: false,
        peers: Peers::All,
        warning: false,
        file: None,
        extra: None,
    }
}

impl Case {
    pub(super) fn server(self, server: &'static str) -> Self {
        Self { server, ..self }
    }

    pub(super) fn host(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    pub(super) fn text_server(self) -> Self {
        Self {
            text_server: true,
            ..self
        }
    }

    pub(super) fn warning(self) -> Self {
        Self {
            warning: true,
            ..self
        }
    }

    pub(super) fn peers(self, peers: Peers) -> Self {
        Self { peers, ..self }
    }

    /// Whether the case runs with these two.
    pub(super) fn suits(&self, client: Peer, server: Peer) -> bool {
        let all_new = client != Peer::Old && server != Peer::Old;
        match self.peers {
            Peers::All => true,
            Peers::New => all_new,
            Peers::OurClient => client == Peer::Ours,
            Peers::OurReceiver => {
                let expected = Expectation::of(&pair::words(self.client));
                let receiver = match expected.mode {
                    Mode::Reverse => client,
                    _ => server,
                };
                all_new && receiver == Peer::Ours
            }
        }
    }

    pub(super) fn file(self, name: &'static str, content: Content) -> Self {
        Self {
            file: Some((name, content)),
            ..self
        }
    }

    pub(super) fn check(self, check: ExtraCheck) -> Self {
        Self {
            extra: Some(check),
            ..self
        }
    }
}

impl Observed<'_> {
    pub(super) fn ends(&self) -> [(&'static str, &Value); 2] {
        [("client", self.client), ("server", self.server)]
    }
}

pub(super) fn own_ports(observed: &Observed<'_>, f: &mut Problems) {
    for (index, connected) in list(observed.client, "/start/connected").iter().enumerate() {
        let want = i64::from(observed.outcome.cport) + i64::try_from(index).expect("few streams");
        f.equal("local_port", int(connected, "/local_port"), Some(want));
    }
}

pub(super) fn tos(observed: &Observed<'_>, f: &mut Problems, want: i64) {
    for (end, doc) in observed.ends() {
        f.equal(
            format!("{end}: tos"),
            int(doc, "/start/test_start/tos"),
            Some(want),
        );
    }
}
