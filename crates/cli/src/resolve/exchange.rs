//! The options of request/response tests.

use std::time::Duration;

use iperf_model::{Direction, Exchange, TestConfig, Transport};
use iperf_proto::exchange::{reconnects, sizes};

use crate::error::ParameterError;
use crate::options::Client;
use crate::resolve::local::LocalDraft;
use crate::value::Value;

/// What of them has been read.
#[derive(Debug, Default)]
pub(super) struct ExchangeDraft {
    /// `--rr` or `--crr`, with its sizes.
    sizes: Option<Sizes>,
    /// It is `--crr`.
    reconnects: bool,
    in_flight: Option<u16>,
    rate: Option<u32>,
    busy_poll: Option<Duration>,
    timeout: Option<Duration>,
    /// The first option that only request/response tests have.
    needs: Option<&'static str>,
}

/// Bytes of a request and a response; `None` is the least there is.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    request: Option<u32>,
    response: Option<u32>,
}

impl ExchangeDraft {
    /// Reads one of the options.
    pub(super) fn apply(
        &mut self,
        option: Client,
        value: &Value<'_>,
    ) -> Result<(), ParameterError> {
        let needs = match option {
            Client::Rr | Client::Crr => {
                let reconnects = option == Client::Crr;
                if self.sizes.is_some() && self.reconnects != reconnects {
                    return Err(ParameterError::Clash("--rr", "--crr"));
                }
                self.sizes = Some(read_sizes(value)?);
                self.reconnects = reconnects;
                return Ok(());
            }
            Client::Pipeline => {
                let most = Exchange::MAX_IN_FLIGHT;
                let outside = value.refuse(format!("a whole number from 1 to {most}"));
                self.in_flight = Some(value.integer(1..=most.into(), outside)?);
                "--pipeline"
            }
            Client::Rate => {
                let most = Exchange::MAX_RATE;
                let outside = value.refuse(format!("from 1 to {most} requests per second"));
                self.rate = Some(value.integer(1..=most.into(), outside)?);
                "--rate"
            }
            Client::BusyPoll => {
                let outside = value.refuse("from 0 to 1000000 microseconds");
                let micros: u32 = value.integer(0..=1_000_000, outside)?;
                self.busy_poll = Some(Duration::from_micros(micros.into()));
                "--busy-poll"
            }
            _ => {
                let outside = value.refuse("from 1 to 60000 milliseconds");
                let millis: u32 = value.integer(1..=60_000, outside)?;
                self.timeout = Some(Duration::from_millis(millis.into()));
                "--rr-timeout"
            }
        };
        self.needs.get_or_insert(needs);
        Ok(())
    }

    /// Whether this end receives data in either direction.
    pub(super) fn is_wanted(&self) -> bool {
        self.sizes.is_some()
    }

    /// The option that selects it.
    pub(super) fn name(&self) -> &'static str {
        if self.reconnects { "--crr" } else { "--rr" }
    }

    /// Rejects what makes no sense with a connection for each transaction.
    fn check_reconnecting(
        &self,
        test: &TestConfig,
        local: &LocalDraft,
    ) -> Result<(), ParameterError> {
        let option = "--crr";
        if !reconnects(test.transport) {
            return Err(ParameterError::Needs(option, "TCP, MPTCP or vsock streams"));
        }
        for (given, other) in [
            // The client may be where nothing can connect to it.
            (test.direction == Direction::Reverse, "-R/--reverse"),
            (self.in_flight.is_some(), "--pipeline"),
            (local.cport.is_some(), "--cport"),
        ] {
            if given {
                return Err(ParameterError::Clash(option, other));
            }
        }
        Ok(())
    }

    /// Puts the exchanges into the test, whose transport is known.
    pub(super) fn settle(
        &self,
        test: &mut TestConfig,
        local: &LocalDraft,
    ) -> Result<(), ParameterError> {
        let Some(given) = self.sizes else {
            return self.needs.map_or(Ok(()), |option| {
                Err(ParameterError::Needs(option, "--rr or --crr"))
            });
        };
        let clash = |option| Err(ParameterError::Clash(self.name(), option));
        if self.reconnects {
            self.check_reconnecting(test, local)?;
        }
        if self.timeout.is_some() && test.transport != Transport::Udp {
            return Err(ParameterError::Needs("--rr-timeout", "-u/--udp"));
        }
        if test.direction == Direction::Bidirectional {
            return clash("--bidir");
        }
        if local.options.file.is_some() {
            return clash("-F/--file");
        }
        let (least, most) = sizes(test.transport);
        let size = |given: Option<u32>| match given {
            None => Ok(least),
            Some(size) if (least..=most).contains(&size) => Ok(size),
            Some(bytes) => Err(ParameterError::ExchangeSize {
                option: self.name(),
                bytes,
                transport: test.transport.name(),
                least,
                most,
            }),
        };
        let exchange = Exchange::new(size(given.request)?, size(given.response)?);
        test.exchange = Some(Exchange {
            in_flight: self.in_flight.unwrap_or(exchange.in_flight),
            rate: self.rate,
            busy_poll: self.busy_poll.unwrap_or(exchange.busy_poll),
            timeout: self.timeout.unwrap_or(exchange.timeout),
            reconnects: self.reconnects,
            ..exchange
        });
        // A request of several segments would wait for the acknowledgement of the first.
        test.socket.no_delay = true;
        Ok(())
    }
}

/// Reads REQ[,RSP]; a response is as long as its request unless it is given.
fn read_sizes(value: &Value<'_>) -> Result<Sizes, ParameterError> {
    if value.is_empty() {
        return Ok(Sizes::default());
    }
    let (request, response) = value.split(',')?;
    let most = Exchange::MAX_BYTES;
    // The whole value, also where a part of it is no number.
    let outside = || {
        value.refuse(format!(
            "REQ[,RSP], the bytes of a request and a response, from 1 to {most}"
        ))
    };
    let size = |part: Value<'_>| {
        let size = part.size(1..=most.into(), outside());
        size.map_err(|_| outside())
    };
    let request = size(request)?;
    let response = response.map(size).transpose()?;
    Ok(Sizes {
        request: Some(request),
        response: Some(response.unwrap_or(request)),
    })
}
