//! The interface to a service manager: systemd's socket activation and readiness.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

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

/// Reports that clients can connect, if a manager waits for that.
pub(crate) fn ready() {
    notify(&NotifyState::Ready);
}

/// Reports that options are read again, until the next [`ready`]. `Type=notify-reload` wants the time, as of the kernel's
/// monotonic clock.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify_all(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "can't read the clock"),
    }
}

/// Reports that the server ends.
pub(crate) fn stopping() {
    notify(&NotifyState::Stopping);
}

/// Sends the manager a message. A manager that reads none never holds up the server: the message is dropped.
pub(crate) fn notify(state: &NotifyState<'_>) {
    notify_all(std::slice::from_ref(state));
}

/// Sends several states as one message.
fn notify_all(states: &[NotifyState<'_>]) {
    // Without a manager there is nothing to do.
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let message: Vec<String> = states.iter().map(ToString::to_string).collect();
    if let Err(error) = send(path.as_bytes(), &message.join("\n")) {
        tracing::warn!(%error, "can't notify the service manager");
    }
}

/// Sends a datagram to a socket's file, or to an abstract name, which begins with `@` (sd_notify(3)).
fn send(socket: &[u8], message: &str) -> io::Result<()> {
    let address = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(OsStr::from_bytes(socket))?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_reads_nothing_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let name = path.as_os_str().as_bytes();
        let sent = (0..100_000).take_while(|_| send(name, "WATCHDOG=1").is_ok());
        let sent = sent.count();
        assert!((1..100_000).contains(&sent), "{sent} messages waited");
        let mut message = [0; 64];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"WATCHDOG=1");
    }

    #[test]
    fn a_name_may_be_abstract() {
        let name = format!("iperf-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send(format!("@{name}").as_bytes(), "READY=1").unwrap();
        let mut message = [0; 64];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1");
    }
}
