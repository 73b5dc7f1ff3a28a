//! The parameters: the client's description of the test, which the server can only accept or refuse.
//!
//! [`Params`] holds the content of the JSON, valid or not; [`Params::to_test`] is the only way from there to a
//! [`TestConfig`], with the range checks of a 3.22 server.

use std::ops::RangeInclusive;

use iperf_model::{
    BitRate, Direction, Limit, MAX_BLOCK, MAX_OWN_STREAMS, MAX_STREAMS, Payload, Placement,
    ReceiveMode, SendMode, TestConfig, Transport, VERSION,
};

use crate::extensions::{Extensions, first_cpu, iperf3_modes};
use crate::json::{Fields, Members, text};
use crate::udp;
use crate::{Code, ParseError};

/// The members of the parameter JSON. `None` and `false` mean that a member is absent; unknown members are dropped.
///
/// Integers are as the client sent them: they may be out of any range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the wire format"
)]
pub struct Params {
    /// `tcp`, `udp`, `sctp` or `vsock`, and `mptcp` beside `tcp`. Of several transports the last of this order counts.
    pub transport: Option<Transport>,
    /// Seconds at the start that do not count.
    pub omit: Option<i64>,
    /// CPU for the server.
    pub server_affinity: Option<i64>,
    /// Seconds; 0 is no limit.
    pub time: Option<i64>,
    /// Bytes over all streams of a direction; 0 is no limit.
    pub num: Option<i64>,
    /// Blocks over all streams of a direction; 0 is no limit.
    pub blockcount: Option<i64>,
    /// `MSS`: bytes for `TCP_MAXSEG`.
    pub mss: Option<i64>,
    /// `TCP_NODELAY` on the data connections.
    pub nodelay: bool,
    /// Streams per direction.
    pub parallel: Option<i64>,
    /// The server sends.
    pub reverse: bool,
    /// Both send. Wins over `reverse`.
    pub bidirectional: bool,
    /// Bytes for `SO_SNDBUF` and `SO_RCVBUF`.
    pub window: Option<i64>,
    /// Bytes per block or datagram.
    pub len: Option<i64>,
    /// Bits per second and stream, kept by the sender.
    pub bandwidth: Option<i64>,
    /// Bits per second and stream, kept by the kernel.
    pub fqrate: Option<i64>,
    /// Microseconds.
    pub pacing_timer: Option<i64>,
    /// Blocks per burst.
    pub burst: Option<i64>,
    /// 1 requests UDP segmentation offload.
    pub gso: Option<i64>,
    /// Bytes of each datagram cut by the offload.
    pub gso_dg_size: Option<i64>,
    /// Bytes per send call.
    pub gso_bf_size: Option<i64>,
    /// 1 requests UDP receive offload.
    pub gro: Option<i64>,
    /// Bytes per receive call.
    pub gro_bf_size: Option<i64>,
    /// `TOS`: the IP TOS or IPv6 traffic class byte.
    pub tos: Option<i64>,
    /// IPv6 flow label.
    pub flowlabel: Option<i64>,
    /// Title of the test.
    pub title: Option<String>,
    /// Free text for the JSON output.
    pub extra_data: Option<String>,
    /// Congestion control for both ends.
    pub congestion: Option<String>,
    /// The server returns its output. Only the presence counts.
    pub get_server_output: bool,
    /// 64-bit sequence numbers in UDP datagrams. Only the presence counts.
    pub udp_counters_64bit: bool,
    /// Blocks hold digits. Only the presence counts.
    pub repeating_payload: bool,
    /// 1: the sender uses `sendfile`.
    pub zerocopy: Option<i64>,
    /// 1: no fragmentation of IPv4 UDP datagrams.
    pub dont_fragment: Option<i64>,
    /// Base64 of the encrypted credentials.
    pub authtoken: Option<String>,
    /// 1: the receiver lets the kernel drop the data.
    pub skip_rx_copy: Option<i64>,
    /// What only two ends of this program can do. Our own key: iperf3 ignores it.
    pub extensions: Option<Extensions>,
    /// What the client calls itself. What is sent is always this program's own version.
    pub client_version: Option<String>,
}

impl Params {
    /// The parameters that request a test.
    pub fn from_test(test: &TestConfig) -> Self {
        let flag = |on: bool| on.then_some(1);
        let size = |bytes: u32| (bytes > 0).then_some(i64::from(bytes));
        let rate = |rate: Option<BitRate>| rate?.limit().map(|rate| clamp(rate.bits()));
        let (pacing, socket) = (&test.pacing, &test.socket);
        let mut params = Self {
            transport: Some(match test.transport {
                // The rest is an extension.
                Transport::VsockSeqpacket => Transport::Vsock,
                other => other,
            }),
            omit: Some(test.omit.into()),
            server_affinity: first_cpu(test),
            time: Some(test.limit.seconds().into()),
            num: Some(clamp(test.limit.bytes())),
            blockcount: Some(clamp(test.limit.blocks())),
            mss: socket.mss.and_then(|mss| size(mss.into())),
            nodelay: socket.no_delay,
            parallel: Some(test.streams.into()),
            reverse: test.direction == Direction::Reverse,
            bidirectional: test.direction == Direction::Bidirectional,
            window: socket.window.and_then(size),
            len: size(test.block),
            bandwidth: rate(pacing.rate),
            fqrate: rate(pacing.fq_rate),
            pacing_timer: size(pacing.timer_us),
            burst: pacing.burst.and_then(|blocks| size(blocks.into())),
            tos: size(socket.tos.into()),
            flowlabel: socket.flow_label.and_then(size),
            title: test.title.clone(),
            extra_data: test.extra_data.clone(),
            congestion: socket.congestion.clone(),
            get_server_output: test.get_server_output,
            udp_counters_64bit: test.udp.counters_64bit,
            repeating_payload: test.payload == Payload::Repeating,
            zerocopy: flag(test.zerocopy.send != SendMode::Copy),
            dont_fragment: flag(socket.dont_fragment),
            skip_rx_copy: flag(test.zerocopy.receive == ReceiveMode::Trunc),
            extensions: Extensions::from_test(test),
            client_version: Some(VERSION.to_owned()),
            ..Self::default()
        };
        if test.transport == Transport::Udp {
            params.ask_for_offload(test);
        }
        params
    }

    /// UDP clients since 3.21 describe their offload buffers even if they request no offload.
    fn ask_for_offload(&mut self, test: &TestConfig) {
        let on = test.udp.gsro;
        let largest = i64::from(udp::MAX_DATAGRAM);
        let buffer = udp::offload_buffer(test.block);
        self.gso = Some(on.into());
        self.gso_dg_size = Some(if on { test.block.into() } else { 0 });
        self.gso_bf_size = Some(if on { buffer.into() } else { largest });
        self.gro = Some(on.into());
        self.gro_bf_size = Some(largest);
    }

    /// Reads the JSON of a client, as leniently as 3.22 does. Any JSON is valid: `{}` requests iperf3's default test.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = text(bytes);
        let fields = Fields::parse(&text)?;
        let int = |key| fields.integer(key);
        Ok(Self {
            transport: transport(&fields),
            omit: int("omit"),
            server_affinity: int("server_affinity"),
            time: int("time"),
            num: int("num"),
            blockcount: int("blockcount"),
            mss: int("MSS"),
            nodelay: fields.flag("nodelay"),
            parallel: int("parallel"),
            reverse: fields.flag("reverse"),
            bidirectional: fields.flag("bidirectional"),
            window: int("window"),
            len: int("len"),
            bandwidth: int("bandwidth"),
            fqrate: int("fqrate"),
            pacing_timer: int("pacing_timer"),
            burst: int("burst"),
            gso: int("gso"),
            gso_dg_size: int("gso_dg_size"),
            gso_bf_size: int("gso_bf_size"),
            gro: int("gro"),
            gro_bf_size: int("gro_bf_size"),
            tos: int("TOS"),
            flowlabel: int("flowlabel"),
            title: fields.block("title"),
            extra_data: fields.block("extra_data"),
            congestion: fields.string("congestion"),
            get_server_output: int("get_server_output").is_some(),
            udp_counters_64bit: int("udp_counters_64bit").is_some(),
            repeating_payload: int("repeating_payload").is_some(),
            zerocopy: int("zerocopy"),
            dont_fragment: int("dont_fragment"),
            authtoken: fields.secret("authtoken"),
            skip_rx_copy: int("skip_rx_copy"),
            extensions: fields
                .member("extensions")
                .map(|fields| Extensions::parse(&fields)),
            client_version: fields.string("client_version"),
        })
    }

    /// The JSON for the server: compact, in the order of 3.22.
    ///
    /// A flag that is off is not written at all, since servers check only its presence.
    pub fn to_json(&self) -> String {
        let mut json = Members::default();
        json.flag(transport_key(self.transport), true);
        json.int("omit", self.omit);
        json.int("server_affinity", self.server_affinity);
        json.int("time", self.time);
        json.int("num", self.num);
        json.int("blockcount", self.blockcount);
        json.int("MSS", self.mss);
        json.flag("nodelay", self.nodelay);
        json.int("parallel", self.parallel);
        json.flag("reverse", self.reverse);
        json.flag("bidirectional", self.bidirectional);
        json.flag("mptcp", self.transport == Some(Transport::Mptcp));
        json.int("window", self.window);
        json.int("len", self.len);
        json.int("bandwidth", self.bandwidth);
        json.int("fqrate", self.fqrate);
        json.int("pacing_timer", self.pacing_timer);
        json.int("burst", self.burst);
        json.int("gso", self.gso);
        json.int("gso_dg_size", self.gso_dg_size);
        json.int("gso_bf_size", self.gso_bf_size);
        json.int("gro", self.gro);
        json.int("gro_bf_size", self.gro_bf_size);
        json.int("TOS", self.tos);
        json.int("flowlabel", self.flowlabel);
        json.string("title", self.title.as_deref());
        json.string("extra_data", self.extra_data.as_deref());
        json.string("congestion", self.congestion.as_deref());
        json.int("get_server_output", self.get_server_output.then_some(1));
        json.int("udp_counters_64bit", self.udp_counters_64bit.then_some(1));
        json.int("repeating_payload", self.repeating_payload.then_some(1));
        json.int("zerocopy", self.zerocopy);
        json.int("dont_fragment", self.dont_fragment);
        json.string("authtoken", self.authtoken.as_deref());
        json.int("skip_rx_copy", self.skip_rx_copy);
        json.string("client_version", Some(VERSION));
        json.put(
            "extensions",
            self.extensions.as_ref().map(Extensions::to_json),
        );
        json.into_value().to_string()
    }

    /// The requested test, if every value is in its range. Otherwise the error code of the last value that is
    /// not, as a 3.22 server answers.
    pub fn to_test(&self) -> Result<TestConfig, Code> {
        let mut test = TestConfig::new(self.transport.unwrap_or(Transport::Tcp));
        let udp = test.transport == Transport::Udp;
        let mut checks = Checks::default();
        let mut check = |value, range, code| checks.run(value, range, code);

        // In the order of the wire, so that the last failure is the same as 3.22's.
        let omit = check(self.omit, 0..=600, Code::OMIT);
        let affinity = check(self.server_affinity, 0..=1024, Code::AFFINITY);
        let time = check(self.time, 0..=86_400, Code::DURATION);
        let bytes = check(self.num, POSITIVE, Code::RECV_PARAMS);
        let blocks = check(self.blockcount, POSITIVE, Code::RECV_PARAMS);
        let mss = check(self.mss, 0..=32_767, Code::MSS);
        let (most_streams, largest_block) = self.largest(test.transport);
        let streams = check(self.parallel, 1..=most_streams, Code::STREAMS);
        let window = check(self.window, 0..=536_870_912, Code::BUFFER_SIZE);
        let (len, sizes, wrong) = if udp {
            // Only the client chooses the datagram size; there is no default.
            let len = Some(self.len.unwrap_or(0));
            (len, udp::BLOCK_SIZES, Code::UDP_BLOCK_SIZE)
        } else {
            (self.len, 1..=largest_block, Code::BLOCK_SIZE)
        };
        let block = check(len, sizes, wrong);
        let rate = check(self.bandwidth, POSITIVE, Code::RECV_PARAMS);
        let fq_rate = check(self.fqrate, POSITIVE, Code::RECV_PARAMS);
        let timer = check(self.pacing_timer, POSITIVE, Code::RECV_PARAMS);
        let burst = check(self.burst, 1..=1000, Code::BURST);
        if udp {
            for value in [self.gso, self.gso_dg_size, self.gso_bf_size] {
                check(value, POSITIVE, Code::RECV_PARAMS);
            }
            check(self.gro, 0..=1, Code::RECV_PARAMS);
            check(self.gro_bf_size, POSITIVE, Code::RECV_PARAMS);
        }
        let tos = check(self.tos, 0..=255, Code::TOS);
        let flow_label = check(self.flowlabel, 1..=0xf_ffff, Code::FLOW_LABEL);
        let zerocopy = check(self.zerocopy, 0..=1, Code::RECV_PARAMS);
        let dont_fragment = check(self.dont_fragment, 0..=1, Code::RECV_PARAMS);
        let skip_rx_copy = check(self.skip_rx_copy, 0..=1, Code::RECV_PARAMS);
        checks.verdict()?;
        let plain = iperf3_modes(zerocopy == Some(1), skip_rx_copy == Some(1));

        test.direction = match (self.bidirectional, self.reverse) {
            (true, _) => Direction::Bidirectional,
            (false, true) => Direction::Reverse,
            (false, false) => Direction::Forward,
        };
        test.streams = fit(streams).unwrap_or(test.streams);
        test.limit = limit(time.unwrap_or(10), bytes.unwrap_or(0), blocks.unwrap_or(0));
        test.omit = fit(omit).unwrap_or(0);
        test.block = fit(block).unwrap_or(test.block);
        test.pacing.rate = fit(rate).map(BitRate::new).and_then(BitRate::limit);
        test.pacing.burst = fit(burst);
        test.pacing.fq_rate = fit(fq_rate).map(BitRate::new).and_then(BitRate::limit);
        test.pacing.timer_us = timer.map_or(test.pacing.timer_us, |us| {
            u32::try_from(us).unwrap_or(u32::MAX)
        });
        test.socket.window = fit(window).filter(|bytes| *bytes > 0);
        test.socket.mss = fit(mss).filter(|bytes| *bytes > 0);
        test.socket.no_delay = self.nodelay;
        test.socket.tos = fit(tos).unwrap_or(0);
        test.socket.flow_label = fit(flow_label);
        test.socket.congestion.clone_from(&self.congestion);
        test.socket.dont_fragment = dont_fragment == Some(1);
        if self.repeating_payload {
            test.payload = Payload::Repeating;
        }
        test.zerocopy = plain;
        test.server_affinity = fit(affinity).map(Placement::on);
        extend(&mut test, self.extensions.as_ref())?;
        test.udp.counters_64bit = self.udp_counters_64bit;
        test.udp.gsro = udp && [self.gso, self.gro].iter().flatten().any(|on| *on > 0);
        test.title.clone_from(&self.title);
        test.extra_data.clone_from(&self.extra_data);
        test.get_server_output = self.get_server_output;
        Ok(test)
    }

    /// The most streams, and the largest block, that this client may request.
    fn largest(&self, transport: Transport) -> (i64, i64) {
        if self.is_ours() {
            (
                transport.most_streams().into(),
                transport.largest_block().into(),
            )
        } else {
            (MAX_STREAMS.into(), MAX_BLOCK.into())
        }
    }

    /// Whether the client is this program, of any version: then it accepts a server's grants even if it requested no
    /// extensions.
    pub fn is_ours(&self) -> bool {
        let version = self.client_version.as_deref();
        self.extensions.is_some() || version.is_some_and(|text| text.contains("(iperf-rs "))
    }

    /// The most streams that a test with these parameters can have, in both directions.
    pub(crate) fn most_streams(&self) -> u64 {
        let streams = self
            .parallel
            .and_then(|streams| u64::try_from(streams).ok());
        2 * streams.unwrap_or(1).min(MAX_OWN_STREAMS.into())
    }

    /// The client's encrypted credentials.
    pub fn auth_token(&self) -> Option<&str> {
        self.authtoken.as_deref()
    }

    /// Adds encrypted credentials.
    pub fn set_auth_token(&mut self, token: impl Into<String>) {
        self.authtoken = Some(token.into());
    }
}

const POSITIVE: RangeInclusive<i64> = 0..=i64::MAX;

fn transport(fields: &Fields<'_>) -> Option<Transport> {
    let named = [
        ("vsock", Transport::Vsock),
        ("sctp", Transport::Sctp),
        ("udp", Transport::Udp),
        ("tcp", Transport::Tcp),
    ];
    let named = named.into_iter().find(|(key, _)| fields.flag(key));
    match named.map(|(_, transport)| transport) {
        None | Some(Transport::Tcp) if fields.flag("mptcp") => Some(Transport::Mptcp),
        other => other,
    }
}

fn transport_key(transport: Option<Transport>) -> &'static str {
    match transport {
        None | Some(Transport::Tcp | Transport::Mptcp) => "tcp",
        Some(Transport::Udp) => "udp",
        Some(Transport::Sctp) => "sctp",
        Some(Transport::Vsock | Transport::VsockSeqpacket) => "vsock",
    }
}

/// What only clients of this program ask for. `test` has the modes of iperf3's own options.
fn extend(test: &mut TestConfig, extensions: Option<&Extensions>) -> Result<(), Code> {
    if !test.blocks_fit() {
        return Err(Code::BLOCK_SIZE);
    }
    let Some(extensions) = extensions else {
        return Ok(());
    };
    test.zerocopy = extensions.modes(test.zerocopy)?;
    test.verify = extensions.verify;
    extensions.place(test)?;
    test.transport = extensions.transport(test.transport)?;
    if test.block > test.transport.largest_block() {
        return Err(Code::BLOCK_SIZE);
    }
    test.exchange = extensions.exchange(test.transport)?;
    test.probe = extensions.probe(test.transport)?;
    if test.probe.is_some() && test.exchange.is_some() {
        return Err(Code::RECV_PARAMS);
    }
    match (test.exchange, test.direction) {
        (Some(_), Direction::Bidirectional) => Err(Code::RECV_PARAMS),
        // The client may be where nothing can connect to it.
        (Some(exchange), Direction::Reverse) if exchange.reconnects => Err(Code::RECV_PARAMS),
        _ => Ok(()),
    }?;
    Ok(())
}

/// What ends the test. A client names one end only and sends 0 for the others; `time` has a default, so it comes last.
fn limit(seconds: i64, bytes: i64, blocks: i64) -> Limit {
    match (
        u32::try_from(seconds),
        u64::try_from(bytes),
        u64::try_from(blocks),
    ) {
        (_, Ok(bytes @ 1..), _) => Limit::Bytes(bytes),
        (_, _, Ok(blocks @ 1..)) => Limit::Blocks(blocks),
        (Ok(seconds @ 1..), _, _) => Limit::Seconds(seconds),
        _ => Limit::Endless,
    }
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn fit<T: TryFrom<i64>>(value: Option<i64>) -> Option<T> {
    value.and_then(|v| v.try_into().ok())
}

/// The range checks of one set of parameters.
#[derive(Default)]
struct Checks {
    last_failure: Option<Code>,
}

impl Checks {
    /// Returns the value if it is present and in its range.
    fn run(&mut self, value: Option<i64>, range: RangeInclusive<i64>, code: Code) -> Option<i64> {
        let value = value?;
        if range.contains(&value) {
            return Some(value);
        }
        self.last_failure = Some(code);
        None
    }

    fn verdict(&self) -> Result<(), Code> {
        self.last_failure.map_or(Ok(()), Err)
    }
}
