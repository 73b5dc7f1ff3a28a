//! Request/response tests on the wire: what a client requests under `extensions`, what a datagram begins with, and what a
//! requester counted, in the results.
//!
//! ```text
//! parameters  "extensions":{"rr":{"request":1,"response":1,"in_flight":1,"timeout_ms":1000}}
//! granted     {"version":…,"rr":true}
//! results     "rr":{"transactions":18231,"timeouts":0,"service":"HISTFAAA…"}
//! ```
//!
//! With a connection for each transaction, the request is `"crr":{…}`, and the grant is the port for these connections,
//! `"crr":40123`.
//!
//! On a byte stream requests and responses follow each other without a header. A datagram begins with the number of its
//! request, from 0, as 8 bytes in network order; the response has the same.

use std::sync::Arc;
use std::time::Duration;

use iperf_model::{Exchange, ExchangeCounts, Latencies, Transport};
use serde_json::{Value, json};

use crate::Code;
use crate::json::{Fields, Members};

/// The exchanges that a client requests. Numbers are as the client sent them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    request: i64,
    response: i64,
    in_flight: i64,
    rate: i64,
    busy_poll_us: i64,
    timeout_ms: i64,
    /// They are under `crr` instead of `rr`: a server that has only `rr` must not take one for the other.
    reconnects: bool,
}

impl Parameters {
    pub(crate) fn new(exchange: &Exchange) -> Self {
        Self {
            request: exchange.request.into(),
            response: exchange.response.into(),
            in_flight: exchange.in_flight.into(),
            rate: exchange.rate.map_or(0, i64::from),
            busy_poll_us: i64::try_from(exchange.busy_poll.as_micros()).unwrap_or(i64::MAX),
            timeout_ms: i64::try_from(exchange.timeout.as_millis()).unwrap_or(i64::MAX),
            reconnects: exchange.reconnects,
        }
    }

    /// The member of `extensions` that has them.
    pub(crate) fn key(&self) -> &'static str {
        if self.reconnects { "crr" } else { "rr" }
    }

    /// Reads them from `extensions`.
    pub(crate) fn find(extensions: &Fields<'_>) -> Option<Self> {
        let reconnecting = extensions.member("crr").map(|fields| Self {
            reconnects: true,
            ..Self::parse(&fields)
        });
        reconnecting.or_else(|| Some(Self::parse(&extensions.member("rr")?)))
    }

    fn parse(fields: &Fields<'_>) -> Self {
        let number = |key| fields.integer(key).unwrap_or(0);
        Self {
            request: number("request"),
            response: number("response"),
            in_flight: number("in_flight"),
            rate: number("rate"),
            busy_poll_us: number("busy_poll_us"),
            timeout_ms: number("timeout_ms"),
            reconnects: false,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut json = Members::default();
        for (key, number) in [
            ("request", self.request),
            ("response", self.response),
            ("in_flight", self.in_flight),
            ("rate", self.rate),
            ("busy_poll_us", self.busy_poll_us),
            ("timeout_ms", self.timeout_ms),
        ] {
            json.int(key, Some(number).filter(|number| *number != 0));
        }
        json.into_value()
    }

    /// The exchanges, if every number is in its range.
    pub(crate) fn to_exchange(&self, transport: Transport) -> Result<Exchange, Code> {
        let within = |number: i64, least: u64, most: u64| {
            let number = u64::try_from(number).ok();
            let number = number.filter(|number| (least..=most).contains(number));
            number.ok_or(Code::RECV_PARAMS)
        };
        let (least, most) = sizes(transport);
        let size = |bytes| within(bytes, least.into(), most.into());
        if self.reconnects && !(reconnects(transport) && self.in_flight == 1) {
            return Err(Code::RECV_PARAMS);
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let rate = within(self.rate, 0, Exchange::MAX_RATE.into())?;
        Ok(Exchange {
            request: fit(size(self.request)?),
            response: fit(size(self.response)?),
            in_flight: u16::try_from(within(self.in_flight, 1, Exchange::MAX_IN_FLIGHT.into())?)
                .unwrap_or(1),
            rate: Some(fit(rate)).filter(|rate| *rate > 0),
            busy_poll: Duration::from_micros(within(
                self.busy_poll_us,
                0,
                micros(Exchange::MAX_BUSY_POLL),
            )?),
            timeout: Duration::from_millis(within(
                self.timeout_ms,
                1,
                micros(Exchange::MAX_TIMEOUT) / 1000,
            )?),
            reconnects: self.reconnects,
        })
    }
}

fn fit(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Whether each transaction can have its own connection.
pub fn reconnects(transport: Transport) -> bool {
    match transport {
        Transport::Tcp | Transport::Mptcp | Transport::Vsock => true,
        Transport::Udp | Transport::Sctp | Transport::VsockSeqpacket => false,
    }
}

/// The least and the most bytes of a request or a response.
pub fn sizes(transport: Transport) -> (u32, u32) {
    match transport {
        Transport::Udp => (Exchange::MIN_DATAGRAM, crate::udp::MAX_DATAGRAM),
        // What the kernel takes as one message depends on the peer's buffer.
        Transport::VsockSeqpacket | Transport::Sctp => (1, 64 << 10),
        Transport::Tcp | Transport::Mptcp | Transport::Vsock => (1, Exchange::MAX_BYTES),
    }
}

/// Writes the number that a datagram begins with. Shorter datagrams have none.
pub fn number(datagram: &mut [u8], number: u64) {
    if let Some(start) = datagram.first_chunk_mut::<8>() {
        *start = number.to_be_bytes();
    }
}

/// Reads it.
pub fn number_of(datagram: &[u8]) -> Option<u64> {
    datagram.first_chunk::<8>().copied().map(u64::from_be_bytes)
}

/// What a requester counted, for its peer.
pub(crate) fn counts_to_json(counts: &ExchangeCounts) -> Value {
    let mut members = json!({ "transactions": counts.transactions, "timeouts": counts.timeouts });
    for (key, latencies) in [
        ("service", &counts.service),
        ("response", &counts.response),
        ("late", &counts.late),
    ] {
        if let Some(latencies) = latencies {
            members[key] = latencies.to_base64().into();
        }
    }
    members
}

/// Reads it from any peer.
pub(crate) fn parse_counts(fields: &Fields<'_>) -> ExchangeCounts {
    let count = |key| {
        let count = fields.integer(key).unwrap_or(0);
        u64::try_from(count).unwrap_or(0)
    };
    let latencies = |key| Latencies::from_base64(&fields.secret(key)?).map(Arc::new);
    ExchangeCounts {
        transactions: count("transactions"),
        timeouts: count("timeouts"),
        service: latencies("service"),
        response: latencies("response"),
        late: latencies("late"),
        ..ExchangeCounts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(request: &Parameters) -> Parameters {
        let json = request.to_json().to_string();
        Parameters::parse(&Fields::parse(&json).unwrap())
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let exchange = Exchange {
            in_flight: 16,
            rate: Some(5000),
            busy_poll: Duration::from_micros(50),
            timeout: Duration::from_millis(250),
            ..Exchange::new(100, 1000)
        };
        let request = Parameters::new(&exchange);
        assert_eq!(read(&request).to_exchange(Transport::Tcp), Ok(exchange));
    }

    #[test]
    fn numbers_out_of_their_range_are_refused() {
        let good = Parameters::new(&Exchange::new(64, 64));
        assert!(good.to_exchange(Transport::Udp).is_ok());
        for bad in [
            Parameters {
                request: 0,
                ..good.clone()
            },
            Parameters {
                response: -1,
                ..good.clone()
            },
            Parameters {
                request: 7,
                ..good.clone()
            },
            Parameters {
                response: 65_508,
                ..good.clone()
            },
            Parameters {
                in_flight: 0,
                ..good.clone()
            },
            Parameters {
                in_flight: 1025,
                ..good.clone()
            },
            Parameters {
                rate: i64::MAX,
                ..good.clone()
            },
            Parameters {
                busy_poll_us: 1_000_001,
                ..good.clone()
            },
            Parameters {
                timeout_ms: 0,
                ..good.clone()
            },
        ] {
            let refused = bad.to_exchange(Transport::Udp);
            assert_eq!(refused, Err(Code::RECV_PARAMS), "{bad:?}");
        }
    }

    #[test]
    fn a_connection_for_each_transaction_is_another_request() {
        let exchange = Exchange {
            reconnects: true,
            ..Exchange::new(1, 1)
        };
        let request = Parameters::new(&exchange);
        assert_eq!(request.key(), "crr");
        let json = format!(r#"{{"crr":{}}}"#, request.to_json());
        let read = Parameters::find(&Fields::parse(&json).unwrap()).unwrap();
        assert_eq!(read.to_exchange(Transport::Vsock), Ok(exchange));
        for transport in [Transport::Udp, Transport::Sctp, Transport::VsockSeqpacket] {
            assert_eq!(read.to_exchange(transport), Err(Code::RECV_PARAMS));
        }
        let pipelined = Parameters {
            in_flight: 2,
            ..request
        };
        let refused = pipelined.to_exchange(Transport::Tcp);
        assert_eq!(refused, Err(Code::RECV_PARAMS));
    }

    #[test]
    fn counts_are_read_as_they_were_written() {
        let mut latencies = Latencies::new();
        latencies.record(51_200, 100);
        let counts = ExchangeCounts {
            transactions: 100,
            timeouts: 1,
            service: Some(Arc::new(latencies)),
            ..ExchangeCounts::default()
        };
        let json = counts_to_json(&counts).to_string();
        assert_eq!(parse_counts(&Fields::parse(&json).unwrap()), counts);
        let hostile = r#"{"transactions":-1,"service":"nonsense"}"#;
        let read = parse_counts(&Fields::parse(hostile).unwrap());
        assert_eq!(read, ExchangeCounts::default());
    }

    #[test]
    fn a_datagram_begins_with_its_number() {
        let mut datagram = [0; 9];
        number(&mut datagram, 258);
        assert_eq!(datagram, [0, 0, 0, 0, 0, 0, 1, 2, 0]);
        assert_eq!(number_of(&datagram), Some(258));
        assert_eq!(number_of(&datagram[..7]), None);
    }
}
