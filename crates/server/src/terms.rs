//! What a client may do here: the checks on its login and its parameters.

use std::sync::Arc;
use std::time::SystemTime;

use iperf_auth::Authorizer;
use iperf_control::spawn_blocking;
use iperf_model::{Direction, Limit, Listen, ServerConfig, TestConfig, Transport};
use iperf_proto::code::Code;
use iperf_proto::params::Params;
use tokio::sync::Semaphore;
use tracing::info;

use crate::error::TestError;

/// Logins that are checked at the same time. More wait, in a way that a handshake which ends leaves nothing behind.
static LOGINS: Semaphore = Semaphore::const_new(4);

/// Checks the login, on a thread where an RSA operation does not block others.
pub(crate) async fn authorize(
    params: &Params,
    authorizer: Option<&Arc<Authorizer>>,
) -> Result<(), TestError> {
    let Some(authorizer) = authorizer.cloned() else {
        return Ok(());
    };
    // Never closed, so a permit always comes.
    let permit = LOGINS.acquire().await.ok();
    let token = params.auth_token().map(str::to_owned);
    let check = move || {
        let result = authorizer.check(token.as_deref(), SystemTime::now());
        drop(permit);
        result
    };
    match spawn_blocking(check).await {
        Ok(Ok(user)) => {
            info!(user, "logged in");
            Ok(())
        }
        Ok(Err(denied)) => Err(TestError::Denied(denied)),
        Err(error) => Err(TestError::LoginUnchecked(error)),
    }
}

/// Understands the parameters and compares them with what this server allows.
pub(crate) fn check(params: &Params, config: &ServerConfig) -> Result<TestConfig, Code> {
    let test = params.to_test()?;
    let inet = matches!(config.listen, Listen::Inet { .. });
    match test.transport {
        // What the control connection travels over, the streams do.
        transport if inet == transport.is_vsock() => {
            return Err(Code::NOT_IMPLEMENTED);
        }
        // VMMs carry byte streams.
        Transport::VsockSeqpacket if !matches!(config.listen, Listen::Vsock { .. }) => {
            return Err(Code::NOT_IMPLEMENTED);
        }
        Transport::Udp if config.local.file.is_some() => return Err(Code::UDP_FILE),
        _ => {}
    }
    for limit in [config.rate_limit, config.client_rate_limit]
        .into_iter()
        .flatten()
    {
        let directions = if test.direction == Direction::Bidirectional {
            2
        } else {
            1
        };
        let streams = u64::from(test.streams) * directions;
        let rates = [test.pacing.rate, test.pacing.fq_rate];
        let highest = rates.into_iter().flatten().max().unwrap_or_default();
        if highest.bits().saturating_mul(streams) > limit.rate.bits() {
            return Err(Code::TOTAL_RATE);
        }
    }
    if let Some(longest) = config.max_duration {
        let requested = match test.limit {
            Limit::Seconds(seconds) => Some(seconds.saturating_add(test.omit)),
            _ => None,
        };
        if requested.is_none_or(|requested| requested > longest) {
            return Err(Code::MAX_DURATION);
        }
    }
    Ok(test)
}
