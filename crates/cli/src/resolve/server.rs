//! The options of a server.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use iperf_model::{Concurrency, RateLimit, ServerAuth, ServerConfig};
use iperf_proto::Code;

use crate::error::ParameterError;
use crate::job::ProcessOptions;
use crate::options::Server;
use crate::resolve::endpoint;
use crate::resolve::local::LocalDraft;
use crate::value::Value;

/// A day in seconds.
const DAY: i64 = 86_400;
/// The largest number of tests at a time.
const MOST_TESTS: u32 = 100_000;
/// The default time over which a rate is averaged.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// The default limit of the difference between clocks.
const CLOCK_SKEW: Duration = Duration::from_secs(10);

/// The options of a server as far as they have been read.
#[derive(Debug, Default)]
pub(super) struct ServerDraft {
    /// The server; where it listens, the options of both ends and logins are filled in at the end.
    config: ServerConfig,
    /// How the process runs; options of both ends are missing.
    pub(super) process: ProcessOptions,
    private_key: Option<PathBuf>,
    users: Option<PathBuf>,
    skew: Option<Duration>,
}

impl ServerDraft {
    pub(super) fn apply(
        &mut self,
        option: Server,
        value: &Value<'_>,
    ) -> Result<(), ParameterError> {
        match option {
            Server::Daemon => self.process.daemon = true,
            Server::OneOff => self.config.one_off = true,
            Server::Tests => {
                let must = "a whole number from 1 to 100000, or 0 for as many as resources allow";
                let limit = NonZeroU32::new(value.strict(&(0..=MOST_TESTS), must)?);
                self.config.tests = limit.map_or(Concurrency::Resources, Concurrency::Tests);
            }
            Server::TestsPerClient => {
                let must = "a whole number from 1 to 100000, or 0 for no limit";
                let limit = NonZeroU32::new(value.strict(&(0..=MOST_TESTS), must)?);
                self.config.tests_per_client = limit;
            }
            Server::ClientBitrateLimit => self.config.client_rate_limit = rate_limit(value)?,
            Server::BitrateLimit => self.config.rate_limit = rate_limit(value)?,
            Server::Metrics => {
                let address = value.string()?;
                let port = address
                    .rsplit_once(':')
                    .map(|(_, port)| port.parse::<u16>());
                if !matches!(port, Some(Ok(_))) {
                    return Err(value.refuse("an address and a port, such as 127.0.0.1:9580"));
                }
                self.process.metrics = Some(address);
            }
            Server::Drain => {
                let must = "seconds from 0 to 86400";
                let seconds = value.strict(&(0.0..=86_400.0), must)?;
                self.process.drain = (seconds > 0.0).then(|| Duration::from_secs_f64(seconds));
            }
            Server::OptionsFile => self.process.options_file = Some(value.path()),
            Server::LogFormat => {
                self.process.log_json = match value.str()? {
                    "text" => false,
                    "json" => true,
                    _ => return Err(value.refuse("text or json")),
                }
            }
            Server::IdleTimeout => {
                let seconds: u32 = value.integer(1..=DAY, Code::IDLE_TIMEOUT)?;
                self.config.idle_timeout = Some(Duration::from_secs(seconds.into()));
            }
            Server::MaxDuration => {
                let seconds = value.time_limit(DAY, Code::DURATION)?;
                self.config.max_duration = (seconds > 0).then_some(seconds);
            }
            Server::PrivateKey => self.private_key = Some(value.path()),
            Server::Users => self.users = Some(value.path()),
            Server::Skew => {
                let seconds: u32 = value.integer(1..=i32::MAX.into(), Code::SKEW_THRESHOLD)?;
                self.skew = Some(Duration::from_secs(seconds.into()));
            }
        }
        Ok(())
    }

    /// The users to serve; the files must be readable.
    pub(super) fn auth(&self, pkcs1: bool) -> Result<Option<ServerAuth>, ParameterError> {
        match (&self.private_key, &self.users) {
            (None, None) => Ok(None),
            (Some(private_key), Some(users)) => {
                if let Err(error) = iperf_auth::open(private_key) {
                    return Err(ParameterError::key(Code::SERVER_AUTH, private_key, error));
                }
                if let Err(error) = iperf_auth::open(users) {
                    // iperf3's message names no file, which may be one of several after a reload.
                    return Err(if self.process.options_file.is_some() {
                        ParameterError::key(Code::USERS_FILE, users, error)
                    } else {
                        Code::USERS_FILE.into()
                    });
                }
                Ok(Some(ServerAuth {
                    private_key: private_key.clone(),
                    users: users.clone(),
                    skew: self.skew.unwrap_or(CLOCK_SKEW),
                    pkcs1,
                }))
            }
            _ => Err(Code::SERVER_AUTH.into()),
        }
    }

    pub(super) fn finish(
        self,
        mut local: LocalDraft,
        auth: Option<ServerAuth>,
    ) -> Result<ServerConfig, ParameterError> {
        let port = local.port();
        if self.config.tests != Concurrency::ONE {
            if self.config.one_off {
                return Err(ParameterError::Clash("--tests", "-1"));
            }
            if local.options.file.is_some() {
                return Err(ParameterError::Clash("--tests", "-F"));
            }
        }
        Ok(ServerConfig {
            listen: endpoint::server(&mut local.options.bind, local.vsock, port)?,
            local: local.options,
            auth,
            ..self.config
        })
    }
}

/// Reads `rate` or `rate/seconds`; a rate of 0 sets no limit.
fn rate_limit(value: &Value<'_>) -> Result<Option<RateLimit>, ParameterError> {
    let (rate, window) = value.split('/')?;
    let window = match window {
        Some(window) => window.seconds(&(0.1..=60.0), Code::RATE_INTERVAL)?,
        None => RATE_WINDOW,
    };
    let rate = rate.rate()?;
    Ok(rate.limit().map(|rate| RateLimit { rate, window }))
}
