//! What two ends of this program can do and iperf3 can't, and how they detect each other.
//!
//! A client puts its requests under `extensions` in its parameters, a key that iperf3 ignores. A server of this program
//! answers, before `CREATE_STREAMS`, with the byte [`State::Extensions`](crate::State::Extensions) and a message: what
//! it grants. A server that sends `CREATE_STREAMS` without it is another program.
//!
//! ```text
//! client ── {"tcp":true,…,"extensions":{"zerocopy":{"send":"auto","receive":"mmap"},"verify":true}} ──► server
//! client ◄── 64, {"version":"3.22 (iperf-rs …)","verify":true}, CREATE_STREAMS ─────────────────────── server
//! ```
//!
//! A server that must abort such a test sends an explanation after the error code: `{"error":…}`.
//!
//! A client without requests sends exactly what iperf3 would. The server recognises a client of this program by its
//! `client_version`, and grants what needs no request.

use iperf_model::{
    CopyMode, Exchange, Placement, Probe, ReceiveMode, SendMode, TestConfig, Transport, VERSION,
    ZeroCopy,
};
use serde_json::{Value, json};

use crate::json::{Fields, Members, text};
use crate::{Code, ParseError, exchange, probe};

/// The most bytes of a server's answer.
pub const MAX_GRANTED: usize = 8192;

/// The members of `extensions`. Names are as the client sent them: they may mean nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Name of a [`SendMode`]: how sending ends are to send.
    pub send: Option<String>,
    /// Name of a [`ReceiveMode`]: how receiving ends are to receive.
    pub receive: Option<String>,
    /// Senders send a pattern and receivers check it.
    pub verify: bool,
    /// Data streams are `SOCK_SEQPACKET` sockets.
    pub seqpacket: bool,
    /// Where the server's threads run, if that is not one CPU. May be no [`Placement`].
    pub cpus: Option<String>,
    /// Streams carry requests and responses ([`crate::exchange`]). Numbers may be out of any range.
    pub exchange: Option<exchange::Parameters>,
    /// A connection for probes comes before the data streams ([`crate::probe`]).
    pub probe: Option<probe::Parameters>,
}

impl Extensions {
    /// What a test needs beyond iperf3's parameters, if anything.
    pub(crate) fn from_test(test: &TestConfig) -> Option<Self> {
        let plain = iperf3_modes(
            test.zerocopy.send != SendMode::Copy,
            test.zerocopy.receive == ReceiveMode::Trunc,
        );
        let name = |mode: CopyMode| Some(mode.name().to_owned());
        let modes = (test.zerocopy != plain).then_some(test.zerocopy);
        let extensions = Self {
            send: modes.and_then(|modes| name(modes.send.into())),
            receive: modes.and_then(|modes| name(modes.receive.into())),
            verify: test.verify,
            seqpacket: test.transport == Transport::VsockSeqpacket,
            cpus: places(test).map(Placement::to_string),
            exchange: test.exchange.as_ref().map(exchange::Parameters::new),
            probe: test.probe.map(probe::Parameters::new),
        };
        (extensions != Self::default()).then_some(extensions)
    }

    pub(crate) fn parse(fields: &Fields<'_>) -> Self {
        let zerocopy = fields.member("zerocopy").unwrap_or_default();
        Self {
            send: zerocopy.string("send"),
            receive: zerocopy.string("receive"),
            verify: fields.truth("verify"),
            seqpacket: fields.truth("seqpacket"),
            cpus: fields.string("cpus"),
            exchange: exchange::Parameters::find(fields),
            probe: fields
                .member("probe")
                .map(|fields| probe::Parameters::parse(&fields)),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut modes = Members::default();
        modes.string("send", self.send.as_deref());
        modes.string("receive", self.receive.as_deref());
        let has_modes = self.send.is_some() || self.receive.is_some();
        let mut json = Members::default();
        json.put("zerocopy", has_modes.then(|| modes.into_value()));
        json.flag("verify", self.verify);
        json.flag("seqpacket", self.seqpacket);
        json.string("cpus", self.cpus.as_deref());
        if let Some(exchange) = &self.exchange {
            json.put(exchange.key(), Some(exchange.to_json()));
        }
        json.put("probe", self.probe.as_ref().map(probe::Parameters::to_json));
        json.into_value()
    }

    /// How streams travel, where `plain` is the value of iperf3's own parameters.
    pub(crate) fn transport(&self, plain: Transport) -> Result<Transport, Code> {
        match (self.seqpacket, plain) {
            (false, plain) => Ok(plain),
            (true, Transport::Vsock) => Ok(Transport::VsockSeqpacket),
            (true, _) => Err(Code::RECV_PARAMS),
        }
    }

    /// Puts the requested placement into the test.
    pub(crate) fn place(&self, test: &mut TestConfig) -> Result<(), Code> {
        if let Some(cpus) = &self.cpus {
            test.server_affinity = Some(cpus.parse().map_err(|_| Code::AFFINITY)?);
        }
        Ok(())
    }

    /// The requested exchanges.
    pub(crate) fn exchange(&self, transport: Transport) -> Result<Option<Exchange>, Code> {
        let request = self.exchange.as_ref();
        request
            .map(|request| request.to_exchange(transport))
            .transpose()
    }

    /// The requested probes.
    pub(crate) fn probe(&self, transport: Transport) -> Result<Option<Probe>, Code> {
        let request = self.probe.as_ref();
        request
            .map(|request| request.to_probe(transport))
            .transpose()
    }

    /// The requested modes, where `plain` is the value of iperf3's own parameters.
    pub(crate) fn modes(&self, plain: ZeroCopy) -> Result<ZeroCopy, Code> {
        Ok(ZeroCopy {
            send: mode(self.send.as_deref(), plain.send)?,
            receive: mode(self.receive.as_deref(), plain.receive)?,
        })
    }
}

/// What iperf3 means with `zerocopy` and `skip_rx_copy`.
pub(crate) fn iperf3_modes(zerocopy: bool, skip_rx_copy: bool) -> ZeroCopy {
    let mut modes = ZeroCopy::default();
    if zerocopy {
        modes.send = SendMode::Auto;
    }
    if skip_rx_copy {
        modes.receive = ReceiveMode::Trunc;
    }
    modes
}

/// What iperf3 servers learn of where their threads are to run.
pub(crate) fn first_cpu(test: &TestConfig) -> Option<i64> {
    let placement = test.server_affinity.as_ref()?;
    placement.first().map(i64::from)
}

/// A placement that iperf3's own parameter has no value for.
fn places(test: &TestConfig) -> Option<&Placement> {
    let placement = test.server_affinity.as_ref();
    placement.filter(|placement| !placement.is_single())
}

fn mode<M: TryFrom<CopyMode>>(name: Option<&str>, otherwise: M) -> Result<M, Code> {
    let Some(name) = name else {
        return Ok(otherwise);
    };
    CopyMode::from_name(name)
        .and_then(|mode| mode.try_into().ok())
        .ok_or(Code::RECV_PARAMS)
}

/// What a server grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a member of the message, and none follows from another"
)]
pub struct Granted {
    /// What the server calls itself.
    pub version: String,
    /// It fills blocks with the pattern, and checks what it receives.
    pub verify: bool,
    /// The port on which it waits for data streams that are `SOCK_SEQPACKET` sockets.
    pub seqpacket: Option<u32>,
    /// It binds its threads as `cpus` asks.
    pub cpus: bool,
    /// It sends heartbeats, and expects them ([`crate::alive`]).
    pub alive: bool,
    /// It opens UDP streams for hellos that carry the cookie ([`crate::udp::named_hello`]), and answers repeated ones.
    pub hello: bool,
    /// It counts what the client counts.
    pub exact: bool,
    /// Its end sends requests, or answers them.
    pub exchange: bool,
    /// The port on which it accepts a connection for each transaction.
    pub crr: Option<u32>,
    /// Data connections name their stream of the test ([`crate::stream_id::index_bytes`]), so that a client may open
    /// many at a time.
    pub numbered: bool,
    /// It takes the first data connection for probes, and answers them.
    pub probe: bool,
    /// Both ends have the same clock.
    pub same_clock: bool,
}

impl Granted {
    /// This program grants everything that the test requests and that it supports; `file`: its end reads or writes one.
    /// The caller fills in the ports of `seqpacket` and `crr`, and `same_clock`.
    pub fn for_test(test: &TestConfig, file: bool) -> Self {
        let looks = matches!(test.zerocopy.receive, ReceiveMode::Copy | ReceiveMode::Mmap);
        Self {
            version: VERSION.to_owned(),
            verify: test.verify && looks && !file,
            seqpacket: None,
            cpus: places(test).is_some(),
            alive: true,
            hello: test.transport == Transport::Udp,
            exact: true,
            exchange: test.exchange.is_some_and(|exchange| !exchange.reconnects),
            crr: None,
            numbered: carries_numbers(test),
            probe: test.probe.is_some(),
            same_clock: false,
        }
    }

    /// Reads a server's answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = text(bytes);
        let fields = Fields::parse(&text)?;
        let port = |key| u32::try_from(fields.integer(key)?).ok();
        Ok(Self {
            version: fields.string("version").unwrap_or_default(),
            verify: fields.truth("verify"),
            seqpacket: port("seqpacket"),
            crr: port("crr"),
            cpus: fields.truth("cpus"),
            alive: fields.truth("alive"),
            hello: fields.truth("hello"),
            exact: fields.truth("exact"),
            exchange: fields.truth("rr"),
            numbered: fields.truth("numbered"),
            probe: fields.truth("probe"),
            same_clock: fields.truth("same_clock"),
        })
    }

    /// The answer for the client.
    pub fn to_json(&self) -> String {
        let mut json = Members::default();
        json.string("version", Some(&self.version));
        json.put("verify", Some(self.verify.into()));
        json.flag("alive", self.alive);
        json.int("seqpacket", self.seqpacket.map(i64::from));
        json.int("crr", self.crr.map(i64::from));
        json.flag("cpus", self.cpus);
        json.flag("hello", self.hello);
        json.flag("exact", self.exact);
        json.flag("rr", self.exchange);
        json.flag("numbered", self.numbered);
        json.flag("probe", self.probe);
        json.flag("same_clock", self.same_clock);
        json.into_value().to_string()
    }
}

/// As many data connections are opened one after another in a moment.
const FEW_STREAMS: usize = 16;

/// Whether data connections name their stream: those that begin with the cookie, if there are many.
fn carries_numbers(test: &TestConfig) -> bool {
    let begins_with_cookie = matches!(
        test.transport,
        Transport::Tcp | Transport::Mptcp | Transport::Vsock
    );
    begins_with_cookie && test.total_streams() > FEW_STREAMS
}

/// The most characters of an explanation.
const MAX_EXPLANATION: usize = 1000;

/// The explanation that an aborting server adds to its error code, for a client that was granted extensions.
pub(crate) fn explain(text: &str) -> String {
    let text: String = text.chars().take(MAX_EXPLANATION).collect();
    json!({ "error": text }).to_string()
}

/// Reads it.
pub(crate) fn explanation(bytes: &[u8]) -> Option<String> {
    let text = text(bytes);
    let explanation = Fields::parse(&text).ok()?.string("error")?;
    Some(explanation.chars().take(MAX_EXPLANATION).collect())
        .filter(|text: &String| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(test: &TestConfig) -> Option<String> {
        Extensions::from_test(test).map(|extensions| extensions.to_json().to_string())
    }

    #[test]
    fn what_iperf3_can_express_needs_no_extension() {
        let mut test = TestConfig::new(Transport::Tcp);
        assert_eq!(request(&test), None);
        test.zerocopy = iperf3_modes(true, true);
        assert_eq!(request(&test), None);
    }

    #[test]
    fn modes_travel_by_name() {
        let mut test = TestConfig::new(Transport::Tcp);
        test.zerocopy = ZeroCopy {
            send: SendMode::Msg,
            receive: ReceiveMode::Mmap,
        };
        test.verify = true;
        let json = request(&test).unwrap();
        assert_eq!(
            json,
            r#"{"zerocopy":{"send":"msg","receive":"mmap"},"verify":true}"#
        );
        let read = Extensions::parse(&Fields::parse(&json).unwrap());
        assert_eq!(read.modes(ZeroCopy::default()), Ok(test.zerocopy));
        assert!(read.verify);
    }

    #[test]
    fn only_udp_streams_begin_with_a_hello() {
        let granted = |transport| Granted::for_test(&TestConfig::new(transport), false);
        assert!(granted(Transport::Udp).hello && granted(Transport::Udp).exact);
        assert!(!granted(Transport::Tcp).hello && granted(Transport::Tcp).exact);
    }

    #[test]
    fn seqpacket_is_requested_over_vsock_only() {
        let test = TestConfig::new(Transport::VsockSeqpacket);
        let json = request(&test).unwrap();
        assert_eq!(json, r#"{"seqpacket":true}"#);
        let read = Extensions::parse(&Fields::parse(&json).unwrap());
        assert_eq!(
            read.transport(Transport::Vsock),
            Ok(Transport::VsockSeqpacket)
        );
        assert_eq!(read.transport(Transport::Tcp), Err(Code::RECV_PARAMS));
        let nothing = Extensions::default();
        assert_eq!(nothing.transport(Transport::Vsock), Ok(Transport::Vsock));
    }

    #[test]
    fn several_cpus_need_an_extension_and_one_does_not() {
        let mut test = TestConfig::new(Transport::Tcp);
        test.server_affinity = Some(Placement::on(4));
        assert_eq!(request(&test), None);
        assert!(!Granted::for_test(&test, false).cpus);
        for text in ["0-3+6", "incoming"] {
            test.server_affinity = text.parse().ok();
            let json = request(&test).unwrap();
            assert_eq!(json, format!(r#"{{"cpus":"{text}"}}"#));
            assert!(Granted::for_test(&test, false).cpus);
            let read = Extensions::parse(&Fields::parse(&json).unwrap());
            let mut placed = TestConfig::new(Transport::Tcp);
            assert_eq!(read.place(&mut placed), Ok(()));
            assert_eq!(placed.server_affinity, test.server_affinity);
        }
        for text in ["", "3-1", "0-70000", "all"] {
            let cpus = Some(text.to_owned());
            let extensions = Extensions {
                cpus,
                ..Extensions::default()
            };
            let placed = extensions.place(&mut TestConfig::new(Transport::Tcp));
            assert_eq!(placed, Err(Code::AFFINITY), "{text}");
        }
    }

    #[test]
    fn a_mode_of_the_other_direction_is_refused() {
        for name in ["mmap", "trunc", "", "nothing", "MSG"] {
            let extensions = Extensions {
                send: Some(name.to_owned()),
                ..Extensions::default()
            };
            let modes = extensions.modes(ZeroCopy::default());
            assert_eq!(modes, Err(Code::RECV_PARAMS), "{name}");
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let mut test = TestConfig::new(Transport::Tcp);
        test.verify = true;
        let mut granted = Granted::for_test(&test, false);
        granted.seqpacket = Some(u32::MAX - 1);
        granted.crr = Some(40_123);
        granted.exact = true;
        assert_eq!(Granted::parse(granted.to_json().as_bytes()), Ok(granted));
        assert_eq!(Granted::parse(b"[]"), Ok(Granted::default()));
        assert!(Granted::parse(b"{").is_err());
    }

    #[test]
    fn a_receiver_that_does_not_see_the_bytes_does_not_verify_them() {
        let mut test = TestConfig::new(Transport::Tcp);
        test.verify = true;
        assert!(Granted::for_test(&test, false).verify);
        assert!(!Granted::for_test(&test, true).verify);
        for (receive, sees) in [
            (ReceiveMode::Mmap, true),
            (ReceiveMode::Trunc, false),
            (ReceiveMode::Splice, false),
        ] {
            test.zerocopy.receive = receive;
            assert_eq!(Granted::for_test(&test, false).verify, sees, "{receive:?}");
        }
    }
}
