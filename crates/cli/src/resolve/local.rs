//! The options of both ends.

use std::net::Ipv6Addr;
use std::num::NonZero;
use std::time::Duration;

use iperf_model::{
    DEFAULT_PORT, Endpoint, Family, Io, Keepalive, LocalOptions, MAX_CPU, Placement, SocketSize,
};
use iperf_proto::Code;

use crate::error::ParameterError;
use crate::job::{OutputOptions, ProcessOptions};
use crate::options::Local;
use crate::resolve::endpoint;
use crate::value::Value;

/// The highest level of `--debug`.
const DEBUG_MOST: u8 = 4;
/// A day: the longest of the times given in milliseconds.
const DAY_MS: i64 = 86_400_000;
/// The largest low-water mark: the largest buffer of `-w`.
const MAX_SOCKET_BUFFER: i64 = 512 * 1024 * 1024;
/// The longest keepalive times and the most probes that Linux takes (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`,
/// `MAX_TCP_KEEPCNT` in include/net/tcp.h).
const MAX_KEEPALIVE_SECONDS: i64 = 32_767;
const MAX_KEEPALIVE_PROBES: i64 = 127;

/// The options of both ends as far as they have been read.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option that was given"
)]
pub(super) struct LocalDraft {
    pub(super) options: LocalOptions,
    pub(super) output: OutputOptions,
    pub(super) process: ProcessOptions,
    port: Option<u32>,
    /// `--vsock` was given.
    pub(super) vsock: bool,
    /// The second part of `-A`.
    pub(super) server_affinity: Option<Placement>,
    pub(super) cport: Option<u16>,
    pub(super) mptcp: bool,
    /// Logins are padded as before iperf3 3.17.
    pub(super) pkcs1: bool,
    /// `--rcv-timeout` was given.
    pub(super) rcv_timeout: bool,
}

impl LocalDraft {
    pub(super) fn apply(&mut self, option: Local, value: &Value<'_>) -> Result<(), ParameterError> {
        match option {
            Local::Port => self.port = Some(value.integer(1..=u32::MAX.into(), Code::PORT)?),
            Local::Format => self.output.format = Some(format_letter(value)?),
            Local::Interval => {
                let interval = value.seconds(&(0.1..=60.0), Code::INTERVAL)?;
                self.options.interval = (!interval.is_zero()).then_some(interval);
            }
            Local::Pidfile => self.process.pidfile = Some(value.path()),
            Local::File => self.options.file = Some(value.path()),
            Local::Affinity => {
                let (own, servers) = value.split(',')?;
                self.options.affinity = Some(placement(&own, |one| {
                    one.c_integer(0..=MAX_CPU.into(), Code::AFFINITY)
                })?);
                self.server_affinity = servers
                    .map(|servers| {
                        placement(&servers, |one| {
                            one.integer(0..=MAX_CPU.into(), Code::AFFINITY)
                        })
                    })
                    .transpose()?
                    .or(self.server_affinity.take());
            }
            Local::Bind => self.options.bind = Some(self.host(value)?),
            Local::BindDev => self.options.bind_dev = Some(value.string()?),
            Local::V4 => self.options.family = Family::V4,
            Local::V6 => self.options.family = Family::V6,
            Local::Cport => self.cport = Some(value.integer(1..=65_535, Code::PORT)?),
            Local::Limits => self.output.limits = true,
            Local::Verbose => self.output.verbose = true,
            Local::Json => self.output.json = true,
            Local::JsonStream => {
                self.output.json = true;
                self.output.json_stream = true;
            }
            Local::JsonStreamFull => self.output.json_stream_full = true,
            Local::Logfile => self.output.logfile = Some(value.path()),
            // Every report is flushed anyway.
            Local::Forceflush => {}
            Local::Timestamps => self.output.timestamps = Some(value.string()?),
            Local::RcvTimeout => {
                let ms: u32 = value.integer(100..=DAY_MS, Code::RCV_TIMEOUT)?;
                self.options.rcv_timeout = Duration::from_millis(ms.into());
                self.rcv_timeout = true;
            }
            Local::RcvLowat => self.options.low_water = socket_size(value)?,
            Local::Sndbuf => self.options.send_buffer = socket_size(value)?,
            Local::Io => self.options.io = io(value)?,
            Local::Threads => {
                let outside = value.refuse("a number of threads from 1 to 1024");
                self.options.threads = NonZero::new(value.integer(1..=1024, outside)?);
            }
            Local::SndTimeout => {
                let ms: u32 = value.integer(0..=DAY_MS, Code::SND_TIMEOUT)?;
                self.options.snd_timeout = (ms > 0).then_some(Duration::from_millis(ms.into()));
            }
            Local::Keepalive => self.options.keepalive = Some(keepalive(value)?),
            Local::NoGso => self.options.no_gso = true,
            Local::NoEnvironment => self.options.environment = false,
            Local::Html => self.output.files.html = Some(value.path()),
            Local::MetricsFile => self.output.files.metrics = Some(value.path()),
            Local::Hlog => self.output.files.hlog = Some(value.path()),
            Local::Influx => self.output.files.influx = Some(value.path()),
            Local::Vsock => self.vsock = true,
            Local::Mptcp => self.mptcp = true,
            Local::Pkcs1 => self.pkcs1 = true,
            Local::DebugMost => self.output.debug = DEBUG_MOST,
            Local::Debug => self.output.debug = debug_level(value)?,
            Local::Xbind => self.options.sctp.bind.push(value.string()?),
        }
        Ok(())
    }

    /// Reads `host` or `host%dev` and keeps the device. The zone of an IPv6 link-local address is part of the address
    /// and stays there.
    pub(super) fn host(&mut self, value: &Value<'_>) -> Result<String, ParameterError> {
        let text = value.str()?;
        match text.split_once('%') {
            Some((host, dev)) if !host.is_empty() && !dev.is_empty() && !is_link_local(host) => {
                self.options.bind_dev = Some(dev.to_owned());
                Ok(host.to_owned())
            }
            _ => Ok(text.to_owned()),
        }
    }

    pub(super) fn port(&self) -> u32 {
        self.port.unwrap_or(DEFAULT_PORT.into())
    }

    /// This machine, at the port of `-p` or at any free one.
    pub(super) fn loopback(&self) -> Result<Endpoint, ParameterError> {
        let host = match self.options.family {
            _ if self.vsock => "1",
            Family::V6 => "::1",
            Family::Any | Family::V4 => "127.0.0.1",
        };
        endpoint::client(host.to_owned(), self.vsock, self.port.unwrap_or(0))
    }

    /// iperf3's warnings about options that do not fit JSON.
    pub(super) fn warnings(&self) -> Vec<String> {
        if !self.output.json {
            return Vec::new();
        }
        [
            (
                self.output.format.is_some(),
                "Report format (-f) flag ignored with JSON output (-J)",
            ),
            // iperf3 writes -v and means -V.
            (
                self.output.verbose,
                "Verbose output (-v) may interfere with JSON output (-J)",
            ),
            (
                self.output.debug > 0,
                "Debug output (-d) may interfere with JSON output (-J)",
            ),
        ]
        .into_iter()
        .filter(|(applies, _)| *applies)
        .map(|(_, text)| text.to_owned())
        .collect()
    }
}

/// Reads where threads run: several CPUs or `incoming`, and otherwise one CPU as iperf3 does.
fn placement(
    value: &Value<'_>,
    one: impl FnOnce(&Value<'_>) -> Result<u16, ParameterError>,
) -> Result<Placement, ParameterError> {
    let text = value.str()?;
    let is_list = text.starts_with(|c: char| c.is_ascii_digit())
        && text.contains(['-', '+'])
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b"-+".contains(&b));
    if text == "incoming" || is_list {
        text.parse()
            .map_err(|_| value.refuse("a CPU from 0 to 1024, or several such as 0-3 or 0+2-5"))
    } else {
        one(value).map(Placement::on)
    }
}

fn is_link_local(host: &str) -> bool {
    host.parse::<Ipv6Addr>()
        .is_ok_and(|address| address.is_unicast_link_local())
}

/// The first letter counts.
fn format_letter(value: &Value<'_>) -> Result<char, ParameterError> {
    let text = value.str()?;
    let letter = text.chars().next().ok_or(Code::FORMAT)?;
    let unit = match letter {
        'k' => "Kbits",
        'm' => "Mbits",
        'g' => "Gbits",
        't' => "Tbits",
        'K' => "KBytes",
        'M' => "MBytes",
        'G' => "GBytes",
        'T' => "TBytes",
        _ => return Err(Code::FORMAT.into()),
    };
    if text.len() > 1 {
        value.note(format_args!("{letter}, which is {unit}/sec"));
    }
    Ok(letter)
}

/// As in iperf3, a level that does not exist is the highest.
fn debug_level(value: &Value<'_>) -> Result<u8, ParameterError> {
    let outside = value.refuse("a whole number from 0 to 4");
    let level: i64 = value.integer(i64::MIN..=i64::MAX, outside)?;
    Ok(match u8::try_from(level) {
        Ok(level) if level <= DEBUG_MOST => level,
        _ => {
            value.note(DEBUG_MOST);
            DEBUG_MOST
        }
    })
}

fn socket_size(value: &Value<'_>) -> Result<SocketSize, ParameterError> {
    match value.str()? {
        "off" => Ok(SocketSize::Off),
        "auto" => Ok(SocketSize::Auto),
        _ => {
            let outside = value.refuse("off, auto or a number of bytes from 1 to 512M");
            let bytes = value.size(1..=MAX_SOCKET_BUFFER, outside)?;
            Ok(SocketSize::Bytes(bytes))
        }
    }
}

fn io(value: &Value<'_>) -> Result<Io, ParameterError> {
    let name = value.str()?;
    let known = [Io::Calls, Io::Uring].into_iter();
    let mut known = known.filter(|io| io.name() == name);
    known.next().ok_or(value.refuse("calls or uring"))
}

/// Reads `idle/interval/count`, of which each may be empty or 0 for the system's value.
fn keepalive(value: &Value<'_>) -> Result<Keepalive, ParameterError> {
    let number = |part: Option<Value<'_>>, max| match part {
        Some(part) if !part.is_empty() => {
            let outside = value.refuse(
                "seconds up to 32767, seconds up to 32767 and a number up to 127, separated by /",
            );
            part.integer::<u32>(0..=max, outside)
                .map(|number| (number > 0).then_some(number))
        }
        _ => Ok(None),
    };
    let (idle, rest) = value.split('/')?;
    let (interval, count) = match rest {
        Some(rest) => {
            let (interval, count) = rest.split('/')?;
            (Some(interval), count)
        }
        None => (None, None),
    };
    let keepalive = Keepalive {
        idle: number(Some(idle), MAX_KEEPALIVE_SECONDS)?,
        interval: number(interval, MAX_KEEPALIVE_SECONDS)?,
        count: number(count, MAX_KEEPALIVE_PROBES)?,
    };
    // Both factors are at most 15 bits long.
    let retrying = keepalive.interval.unwrap_or(0) * keepalive.count.unwrap_or(0);
    match keepalive.idle {
        Some(idle) if idle <= retrying => Err(Code::KEEPALIVE.into()),
        _ => Ok(keepalive),
    }
}
