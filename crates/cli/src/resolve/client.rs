//! The options of a client.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use iperf_model::{
    BitRate, Carrier, ClientConfig, Credentials, Direction, Endpoint, Exchange, Limit, MAX_BLOCK,
    MAX_OWN_STREAMS, Payload, TestConfig, Transport,
};
use iperf_proto::Code;

use crate::dscp;
use crate::error::ParameterError;
use crate::options::Client;
use crate::resolve::exchange::ExchangeDraft;
use crate::resolve::local::LocalDraft;
use crate::resolve::probe::ProbeDraft;
use crate::resolve::zerocopy::ZeroCopyDraft;
use crate::value::Value;

/// The longest test in seconds: a day.
const MAX_TIME: i64 = 86_400;
/// The longest omitted time in seconds.
const MAX_OMIT: i64 = 600;
/// The largest socket buffer in bytes.
const MAX_WINDOW: i64 = 512 << 20;
/// The smallest datagram holds the header with a 64-bit counter; the largest is what IPv4 can carry.
const DATAGRAM: std::ops::RangeInclusive<i64> = 16..=65_507;
/// The default rate of a UDP test.
const UDP_RATE: BitRate = BitRate::new(1 << 20);

/// The options of a client as far as they have been read.
#[derive(Debug, Default)]
pub(super) struct ClientDraft {
    /// The test; block size and limit are filled in at the end.
    test: TestConfig,
    zerocopy: ZeroCopyDraft,
    exchange: ExchangeDraft,
    probe: ProbeDraft,
    reverse: bool,
    bidir: bool,
    rate: Option<BitRate>,
    block: i64,
    time: Option<u32>,
    bytes: u64,
    blocks: u64,
    sctp_streams: Option<u16>,
    connect_timeout: Option<Duration>,
    no_fq_pacing: bool,
    username: Option<String>,
    public_key: Option<PathBuf>,
    wait: Option<Duration>,
}

impl ClientDraft {
    pub(super) fn apply(
        &mut self,
        option: Client,
        value: &Value<'_>,
    ) -> Result<(), ParameterError> {
        let test = &mut self.test;
        match option {
            Client::Udp => test.transport = Transport::Udp,
            Client::Sctp => test.transport = Transport::Sctp,
            Client::Seqpacket => test.transport = Transport::VsockSeqpacket,
            Client::Nstreams => self.sctp_streams = sctp_streams(value)?,
            Client::ConnectTimeout => {
                let outside = value.refuse("from 0 to 2147483647 milliseconds");
                let ms: u32 = value.size(0..=i32::MAX.into(), outside)?;
                self.connect_timeout = (ms > 0).then_some(Duration::from_millis(ms.into()));
            }
            Client::Bitrate | Client::PacingTimer | Client::FqRate | Client::NoFqPacing => {
                self.set_pacing(option, value)?;
            }
            Client::Wait => {
                let must = "seconds from 0 to 86400";
                let seconds = value.strict(&(0.0..=86_400.0), must)?;
                self.wait = (seconds > 0.0).then(|| Duration::from_secs_f64(seconds));
            }
            Client::Time => self.time = Some(value.time_limit(MAX_TIME, Code::DURATION)?),
            Client::Bytes => self.bytes = count(value)?,
            Client::Blocks => self.blocks = count(value)?,
            Client::Length => {
                // The range depends on the transport, which may come later.
                let any = i64::MIN..=i64::MAX;
                self.block = value.size(any, Code::BLOCK_SIZE)?;
            }
            Client::Parallel => test.streams = streams(value)?,
            Client::Reverse | Client::Bidir => self.set_direction(option)?,
            Client::Window => {
                let window = value.size(0..=MAX_WINDOW, Code::BUFFER_SIZE)?;
                test.socket.window = (window > 0).then_some(window);
            }
            Client::Congestion => test.socket.congestion = Some(value.string()?),
            Client::Mss => {
                let mss = value.integer(0..=i16::MAX.into(), Code::MSS)?;
                test.socket.mss = (mss > 0).then_some(mss);
            }
            Client::NoDelay => test.socket.no_delay = true,
            Client::Tos => test.socket.tos = value.c_integer(0..=255, Code::TOS)?,
            Client::Dscp => test.socket.tos = dscp::parse(value)? << 2,
            Client::FlowLabel => {
                let label = value.c_integer(1..=0xf_ffff, Code::FLOW_LABEL)?;
                test.socket.flow_label = Some(label);
            }
            Client::ZeroCopy => self.zerocopy.send(value)?,
            Client::ZeroCopyRx => self.zerocopy.receive(value)?,
            Client::SkipRxCopy => self.zerocopy.skip_rx_copy(),
            Client::ZeroCopyStrict => self.zerocopy.strict = true,
            Client::Verify => self.zerocopy.verify = true,
            Client::Rr
            | Client::Crr
            | Client::Pipeline
            | Client::Rate
            | Client::BusyPoll
            | Client::RrTimeout => {
                self.exchange.apply(option, value)?;
            }
            Client::Probe | Client::ProbeDscp | Client::OneWay => {
                self.probe.apply(option, value)?;
            }
            Client::Omit => test.omit = value.integer(0..=MAX_OMIT, Code::OMIT)?,
            Client::Title => test.title = Some(value.string()?),
            Client::ExtraData => test.extra_data = Some(value.string()?),
            Client::GetServerOutput => test.get_server_output = true,
            Client::Counters64 => test.udp.counters_64bit = true,
            Client::Gsro => test.udp.gsro = true,
            Client::RepeatingPayload => test.payload = Payload::Repeating,
            Client::DontFragment => test.socket.dont_fragment = true,
            Client::Username => self.username = Some(value.string()?),
            Client::PublicKey => self.public_key = Some(value.path()),
        }
        Ok(())
    }

    fn set_pacing(&mut self, option: Client, value: &Value<'_>) -> Result<(), ParameterError> {
        let pacing = &mut self.test.pacing;
        match option {
            Client::PacingTimer => {
                let outside = value.refuse("from 0 to 2147483647 microseconds");
                pacing.timer_us = value.size(0..=i32::MAX.into(), outside)?;
            }
            Client::FqRate => pacing.fq_rate = value.rate()?.limit(),
            Client::NoFqPacing => {
                pacing.fq_rate = None;
                self.no_fq_pacing = true;
            }
            _ => {
                let (rate, burst) = value.split('/')?;
                self.rate = Some(rate.rate()?);
                pacing.burst = burst
                    .map(|burst| burst.integer(1..=1000, Code::BURST))
                    .transpose()?;
            }
        }
        Ok(())
    }

    fn set_direction(&mut self, option: Client) -> Result<(), ParameterError> {
        let direction = if option == Client::Reverse {
            self.reverse = true;
            Direction::Reverse
        } else {
            self.bidir = true;
            Direction::Bidirectional
        };
        if self.reverse && self.bidir {
            return Err(Code::REVERSE_BIDIR.into());
        }
        self.test.direction = direction;
        Ok(())
    }

    /// The login; its key must be readable.
    pub(super) fn credentials(&self, pkcs1: bool) -> Result<Option<Credentials>, ParameterError> {
        match (&self.username, &self.public_key) {
            (None, None) => Ok(None),
            (Some(username), Some(public_key)) => match iperf_auth::open(public_key) {
                Ok(_) => Ok(Some(Credentials {
                    username: username.clone(),
                    public_key: public_key.clone(),
                    pkcs1,
                })),
                Err(error) => Err(ParameterError::key(Code::CLIENT_AUTH, public_key, error)),
            },
            _ => Err(Code::CLIENT_AUTH.into()),
        }
    }

    /// Rejects combinations with options of both ends.
    pub(super) fn check_against(&self, local: &LocalDraft) -> Result<(), ParameterError> {
        let receives = self.test.direction.server_sends() || self.exchange.is_wanted();
        if local.output.files.hlog.is_some() && !self.exchange.is_wanted() {
            return Err(ParameterError::Needs("--hlog", "--rr or --crr"));
        }
        if local.rcv_timeout && !receives {
            return Err(Code::RCV_TIMEOUT_SENDER.into());
        }
        if local.options.file.is_some() && self.test.transport == Transport::Udp {
            return Err(Code::UDP_FILE.into());
        }
        Ok(())
    }

    /// Determines the transport.
    pub(super) fn set_transport(
        &mut self,
        vsock: Option<&Carrier>,
        mptcp: bool,
    ) -> Result<(), ParameterError> {
        let transport = &mut self.test.transport;
        match (vsock, &transport) {
            (Some(_), Transport::Udp) => return Err(ParameterError::NotOverVsock("-u/--udp")),
            (Some(_), Transport::Sctp) => return Err(ParameterError::NotOverVsock("--sctp")),
            (Some(_), _) if mptcp => return Err(ParameterError::NotOverVsock("-m/--mptcp")),
            (Some(Carrier::Vsock), Transport::VsockSeqpacket) => {}
            (Some(Carrier::Unix(_)), Transport::VsockSeqpacket) => {
                return Err(ParameterError::NotThroughVmm("--seqpacket"));
            }
            (Some(_), _) => *transport = Transport::Vsock,
            (None, Transport::VsockSeqpacket) => {
                return Err(ParameterError::Needs("--seqpacket", "a vsock address"));
            }
            (None, Transport::Tcp) if mptcp => *transport = Transport::Mptcp,
            (None, _) => {}
        }
        Ok(())
    }

    /// Determines what is exchanged, if this is a request/response test.
    pub(super) fn set_exchange(&mut self, local: &LocalDraft) -> Result<(), ParameterError> {
        self.exchange.settle(&mut self.test, local)?;
        let exchange = self.exchange.is_wanted().then(|| self.exchange.name());
        self.probe.settle(&mut self.test, exchange)?;
        if self.test.exchange.is_none() {
            return Ok(());
        }
        for (given, option) in [
            (self.rate.is_some(), "-b/--bitrate"),
            (self.block != 0, "-l/--length"),
            (self.test.udp.gsro, "--gsro"),
            (local.output.limits, "--limits"),
        ] {
            if given {
                return Err(ParameterError::Clash(self.exchange.name(), option));
            }
        }
        self.zerocopy.given().map_or(Ok(()), |option| {
            Err(ParameterError::Clash(self.exchange.name(), option))
        })
    }

    /// Whether the text output reports how bytes were moved.
    pub(super) fn asks_about_copies(&self) -> bool {
        self.zerocopy.asks_for_more()
    }

    /// Determines how bytes are moved.
    pub(super) fn set_zerocopy(&mut self, local: &LocalDraft) -> Result<(), ParameterError> {
        if self.zerocopy.verify && local.options.file.is_some() {
            return Err(ParameterError::Clash("--verify", "-F/--file"));
        }
        if self.zerocopy.verify && self.test.payload == Payload::Repeating {
            return Err(ParameterError::Clash("--verify", "--repeating-payload"));
        }
        if self.test.streams > self.test.transport.most_streams() {
            return Err(ParameterError::Needs("-P above 128", "TCP, MPTCP or vsock"));
        }
        self.test.zerocopy = self.zerocopy.settle(self.test.transport)?;
        self.test.verify = self.zerocopy.verify;
        Ok(())
    }

    /// Checks the size of blocks.
    pub(super) fn set_block(&mut self) -> Result<(), ParameterError> {
        let most = self.test.transport.largest_block();
        let (range, outside) = match self.test.transport {
            Transport::Udp => (DATAGRAM, Code::UDP_BLOCK_SIZE.into()),
            _ if most > MAX_BLOCK && self.block > most.into() => {
                return Err(ParameterError::Block(most));
            }
            _ => (1..=most.into(), ParameterError::from(Code::BLOCK_SIZE)),
        };
        self.test.block = match u32::try_from(self.block) {
            Ok(0) => match self.test.exchange {
                Some(exchange) => exchange_block(&exchange, self.test.transport),
                None => self.test.transport.default_block(),
            },
            Ok(block) if range.contains(&self.block) => block,
            _ => return Err(outside),
        };
        if !self.test.blocks_fit() {
            return Err(ParameterError::Blocks(self.test.block, self.test.streams));
        }
        Ok(())
    }

    /// Determines what ends the test: the options, else the end of the file, else the default duration.
    pub(super) fn set_limit(&mut self, local: &LocalDraft) -> Result<(), ParameterError> {
        self.test.limit = match (self.time, self.bytes, self.blocks) {
            (None, 0, 0) => match local.options.file.as_deref().and_then(file_size) {
                Some(size) => Limit::Bytes(size),
                None => self.test.limit,
            },
            (Some(0), 0, 0) => Limit::Endless,
            (Some(seconds), 0, 0) => Limit::Seconds(seconds),
            (None, transactions, 0) if self.test.exchange.is_some() => Limit::Blocks(transactions),
            (None, bytes, 0) => Limit::Bytes(bytes),
            (None, 0, blocks) => Limit::Blocks(blocks),
            _ => return Err(Code::END_CONDITIONS.into()),
        };
        Ok(())
    }

    /// iperf3's notices about deprecated options.
    pub(super) fn notices(&self) -> Vec<String> {
        let deprecated = "Warning:  --no-fq-socket-pacing is deprecated".to_owned();
        self.no_fq_pacing
            .then_some(deprecated)
            .into_iter()
            .collect()
    }

    pub(super) fn finish(
        mut self,
        endpoint: Endpoint,
        local: LocalDraft,
        credentials: Option<Credentials>,
    ) -> ClientConfig {
        let is_udp = self.test.transport == Transport::Udp;
        let exchanges = self.test.exchange.is_some();
        let usual_rate = (is_udp && !exchanges).then_some(UDP_RATE);
        self.test.pacing.rate = self.rate.or(usual_rate).and_then(BitRate::limit);
        self.test.server_affinity.clone_from(&local.server_affinity);
        let mut options = local.options;
        options.sctp.streams = self.sctp_streams;
        options.zerocopy_strict = self.zerocopy.strict;
        ClientConfig {
            endpoint,
            test: self.test,
            block_from_mss: is_udp && !exchanges && self.block == 0,
            local: options,
            cport: local.cport,
            connect_timeout: self.connect_timeout,
            credentials,
            wait: self.wait,
        }
    }
}

/// The block of a request/response test: what the larger one of its messages needs.
fn exchange_block(exchange: &Exchange, transport: Transport) -> u32 {
    let block = exchange.request.max(exchange.response);
    match transport {
        // The least that the parameters may hold.
        Transport::Udp => block.max(16),
        _ => block,
    }
}

/// Reads how many streams there are; below 1, the error is iperf3's.
fn streams(value: &Value<'_>) -> Result<u16, ParameterError> {
    let streams: i64 = value.integer(1..=i64::MAX, Code::STREAMS)?;
    u16::try_from(streams)
        .ok()
        .filter(|streams| *streams <= MAX_OWN_STREAMS)
        .ok_or_else(|| value.refuse("a number of streams from 1 to 10000"))
}

/// Reads the number of bytes or blocks that end a test; 0 sets no end.
fn count(value: &Value<'_>) -> Result<u64, ParameterError> {
    value.size(0..=i64::MAX, value.refuse("from 0 to 9223372036854775807"))
}

/// Reads the number of streams of an SCTP association; 0 is the system default.
fn sctp_streams(value: &Value<'_>) -> Result<Option<u16>, ParameterError> {
    let streams: u64 = value.size(0..=i64::MAX, value.refuse("from 0 to 9223372036854775807"))?;
    let fitting = u16::try_from(streams).unwrap_or_else(|_| {
        value.note(format_args!("{}, the maximum of SCTP", u16::MAX));
        u16::MAX
    });
    Ok((fitting > 0).then_some(fitting))
}

/// The size of a regular file. The end of others, such as devices, is found by reading.
fn file_size(path: &std::path::Path) -> Option<u64> {
    let metadata = fs::metadata(path).ok()?;
    (metadata.is_file() && metadata.len() > 0).then_some(metadata.len())
}
