//! Probes: small messages that the client sends beside a test and the server answers, with the times that both need to
//! relate their clocks.
//!
//! ```text
//! parameters  "extensions":{"probe":{"tos":184,"one_way":true,"clock":"1f0c…"}}
//! granted     {"version":…,"probe":true,"same_clock":true}
//! probe       number │ client's time │ offset │ error         each 64 bits in network order, times in nanoseconds
//! answer      number │ client's time │ arrival │ departure    the last two by the server's clock
//! ```

use iperf_model::{Probe, Transport};
use serde_json::Value;

use crate::json::{Fields, Members};
use crate::{Code, Params};

/// What a client requests. Values are as it sent them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    tos: Option<i64>,
    one_way: bool,
    /// Names the client's clock without revealing which it is.
    pub(crate) clock: Option<String>,
}

impl Parameters {
    pub(crate) fn new(probe: Probe) -> Self {
        Self {
            tos: probe.tos.map(i64::from),
            one_way: probe.one_way,
            clock: None,
        }
    }

    pub(crate) fn parse(fields: &Fields<'_>) -> Self {
        Self {
            tos: fields.integer("tos"),
            one_way: fields.truth("one_way"),
            clock: fields.string("clock"),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut json = Members::default();
        json.int("tos", self.tos);
        json.flag("one_way", self.one_way);
        json.string("clock", self.clock.as_deref());
        json.into_value()
    }

    /// What the server has to know of it, if every value is in its range.
    pub(crate) fn to_probe(&self, transport: Transport) -> Result<Probe, Code> {
        let tos = self.tos.map(u8::try_from).transpose();
        if self.one_way && transport != Transport::Udp {
            return Err(Code::RECV_PARAMS);
        }
        Ok(Probe {
            // The client's own affair.
            rate: Probe::RATE,
            reports: false,
            tos: tos.map_err(|_| Code::TOS)?,
            one_way: self.one_way,
        })
    }
}

impl Params {
    /// Identifies this end's clock, if probes are requested ([`crate::probe`]).
    pub fn set_clock(&mut self, clock: String) {
        if let Some(extensions) = &mut self.extensions
            && let Some(probe) = &mut extensions.probe
        {
            probe.clock = Some(clock);
        }
    }

    /// The name of the client's clock.
    pub fn clock(&self) -> Option<&str> {
        self.extensions.as_ref()?.probe.as_ref()?.clock.as_deref()
    }
}

/// Bytes of a probe, and of its answer.
pub const LENGTH: usize = 32;

/// A probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// From 0.
    pub number: u64,
    /// When it was sent, in nanoseconds of the client's monotonic clock.
    pub sent: u64,
    /// The server's clock less the client's, in nanoseconds, as measured by the client.
    pub offset: i64,
    /// How far that may be off; [`u64::MAX`] if it is unknown.
    pub error: u64,
}

/// The answer to a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The probe's.
    pub number: u64,
    /// The probe's.
    pub sent: u64,
    /// When the probe arrived, in nanoseconds of the server's monotonic clock.
    pub arrived: u64,
    /// When the answer was sent.
    pub answered: u64,
}

fn encode(words: [u64; 4]) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; LENGTH]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, place) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = place
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

impl Message {
    /// For the wire.
    pub fn encode(&self) -> [u8; LENGTH] {
        let offset = self.offset.cast_unsigned();
        encode([self.number, self.sent, offset, self.error])
    }

    /// From the wire: any bytes are a probe.
    pub fn decode(bytes: &[u8; LENGTH]) -> Self {
        let [number, sent, offset, error] = decode(bytes);
        Self {
            number,
            sent,
            offset: offset.cast_signed(),
            error,
        }
    }
}

impl Answer {
    /// For the wire.
    pub fn encode(&self) -> [u8; LENGTH] {
        encode([self.number, self.sent, self.arrived, self.answered])
    }

    /// From the wire: any bytes are an answer.
    pub fn decode(bytes: &[u8; LENGTH]) -> Self {
        let [number, sent, arrived, answered] = decode(bytes);
        Self {
            number,
            sent,
            arrived,
            answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let probe = Message {
            number: 1,
            sent: 2,
            offset: -3,
            error: u64::MAX,
        };
        assert_eq!(Message::decode(&probe.encode()), probe);
        assert_eq!(probe.encode()[..9], [0, 0, 0, 0, 0, 0, 0, 1, 0]);
        let answer = Answer {
            number: 1,
            sent: 2,
            arrived: 1 << 40,
            answered: 4,
        };
        assert_eq!(Answer::decode(&answer.encode()), answer);
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let probe = Probe {
            rate: Probe::RATE,
            tos: Some(184),
            reports: false,
            one_way: true,
        };
        let mut requested = Parameters::new(probe);
        requested.clock = Some("00ff".to_owned());
        let json = requested.to_json().to_string();
        let read = Parameters::parse(&Fields::parse(&json).unwrap());
        assert_eq!(read, requested);
        assert_eq!(read.to_probe(Transport::Udp), Ok(probe));
        assert_eq!(read.to_probe(Transport::Tcp), Err(Code::RECV_PARAMS));
        let wrong = Fields::parse(r#"{"tos":256}"#).map(|fields| Parameters::parse(&fields));
        assert_eq!(wrong.unwrap().to_probe(Transport::Udp), Err(Code::TOS));
    }
}
