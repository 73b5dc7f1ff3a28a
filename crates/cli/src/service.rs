//! What a service manager gives a server and learns from it: systemd's socket activation and readiness.

use std::io;
use std::net::TcpListener;

use iperf_model::{Listen, ServerConfig, reason};
use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The socket that was passed to this process, if there is one. Its port takes the place of the configured one, for UDP and
/// SCTP too.
pub(crate) fn passed_listener(config: &mut ServerConfig) -> io::Result<Option<TcpListener>> {
    let wrong = |what: &str| io::Error::other(format!("socket activation: {what}"));
    let mut passed = ListenFd::from_env();
    match (passed.len(), &mut config.listen) {
        (0, _) => Ok(None),
        (1, Listen::Inet { port }) => {
            let listener = passed.take_tcp_listener(0).map_err(|error| {
                let reason = reason(&error);
                wrong(&format!(
                    "the socket that was passed does not listen on TCP: {reason}"
                ))
            })?;
            if let Some(listener) = &listener {
                *port = listener.local_addr()?.port();
            }
            Ok(listener)
        }
        (1, _) => Err(wrong("a socket was passed, and --vsock opens its own")),
        (sockets, _) => Err(wrong(&format!(
            "{sockets} sockets were passed, and a server uses one"
        ))),
    }
}

/// Says that clients can connect, where somebody waits for that.
pub(crate) fn ready() {
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        tracing::warn!(%error, "can't notify the service manager");
    }
}

/// Says that the server ends.
pub(crate) fn stopping() {
    if let Err(error) = sd_notify::notify(&[NotifyState::Stopping]) {
        tracing::debug!(%error, "can't notify the service manager");
    }
}
