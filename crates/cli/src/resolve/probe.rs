//! The options that measure delays beside a test.

use iperf_model::{Probe, TestConfig, Transport};

use crate::dscp;
use crate::error::ParameterError;
use crate::options::Client;
use crate::value::Value;

/// What of them has been read.
#[derive(Debug, Default)]
pub(super) struct ProbeDraft {
    rate: Option<u16>,
    dscp: Option<u8>,
    one_way: bool,
}

impl ProbeDraft {
    /// Reads one of the options.
    pub(super) fn apply(
        &mut self,
        option: Client,
        value: &Value<'_>,
    ) -> Result<(), ParameterError> {
        match option {
            Client::Probe => {
                let most = Probe::MAX_RATE;
                let outside = value.refuse(format!("from 1 to {most} probes per second"));
                self.rate = Some(value.integer(1..=most.into(), outside)?);
            }
            Client::ProbeDscp => self.dscp = Some(dscp::parse(value)?),
            _ => self.one_way = true,
        }
        Ok(())
    }

    /// Puts them into the test, whose transport is known. `exchange` is the option of a request/response test.
    pub(super) fn settle(
        &self,
        test: &mut TestConfig,
        exchange: Option<&'static str>,
    ) -> Result<(), ParameterError> {
        if self.dscp.is_some() && self.rate.is_none() {
            return Err(ParameterError::Needs("--probe-dscp", "--probe"));
        }
        if self.one_way && test.transport != Transport::Udp {
            return Err(ParameterError::Needs("--one-way", "-u/--udp"));
        }
        if self.rate.is_none() && !self.one_way {
            return Ok(());
        }
        if let Some(exchange) = exchange {
            let option = if self.one_way { "--one-way" } else { "--probe" };
            return Err(ParameterError::Clash(exchange, option));
        }
        test.probe = Some(Probe {
            rate: self.rate.unwrap_or(Probe::RATE),
            tos: self.dscp.map(|code_point| code_point << 2),
            reports: self.rate.is_some(),
            one_way: self.one_way,
        });
        Ok(())
    }
}
