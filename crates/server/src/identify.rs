//! The first bytes of a connection: the cookie, which names its test.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use iperf_control::Wire;
use iperf_proto::cookie::Cookie;
use iperf_proto::state::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use tracing::debug;

/// How long a peer may take to send its cookie.
const COOKIE_LIMIT: Duration = Duration::from_secs(4);

/// Refused peers that are waited for at the same time.
const MAX_REFUSALS: usize = 128;

/// How long a refused peer may take to close its side.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// A connection whose cookie is read.
#[derive(Debug)]
pub(crate) struct Identified {
    pub(crate) cookie: Cookie,
    pub(crate) stream: Wire,
    /// Counts the connections as they were accepted. A client makes its data connections one after another, and that
    /// order identifies them; their cookies may arrive in another.
    pub(crate) order: u64,
}

/// Reads the cookie of a fresh connection. A peer that does not send one is refused, and so is one whose entry in the
/// table of connections is dropped (then `displaced` resolves) before its cookie has arrived.
pub(crate) async fn read_cookie(
    mut stream: Wire,
    order: u64,
    displaced: oneshot::Receiver<()>,
    refusals: Refusals,
) -> Option<Identified> {
    let mut bytes = [0; Cookie::LEN];
    let read = tokio::select! {
        // What has arrived already counts.
        biased;
        read = timeout(COOKIE_LIMIT, stream.read_exact(&mut bytes)) => read,
        _ = displaced => {
            debug!("too many connections without a cookie");
            refusals.refuse(stream);
            return None;
        }
    };
    match read {
        Ok(Ok(_)) => Some(Identified {
            cookie: Cookie::from_wire(bytes),
            stream,
            order,
        }),
        Ok(Err(error)) => {
            debug!(%error, "connection ended before its cookie");
            None
        }
        Err(_) => {
            debug!("no cookie within {} s", COOKIE_LIMIT.as_secs());
            refusals.refuse(stream);
            None
        }
    }
}

/// Refuses peers, a bounded number at a time.
#[derive(Clone, Debug)]
pub(crate) struct Refusals(Arc<Semaphore>);

impl Refusals {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_REFUSALS)))
    }

    /// Reports to a peer that the server is busy. In a flood of peers the connection is closed at once: the answer is
    /// sent if there is room for it, and may be lost.
    pub(crate) fn refuse(&self, stream: Wire) {
        if let Ok(permit) = self.0.clone().try_acquire_owned() {
            tokio::spawn(async move {
                refuse(stream).await;
                drop(permit);
            });
        } else if let Err(error) = stream.socket().send(&[State::AccessDenied.to_byte()]) {
            debug!(%error, "can't refuse a peer");
        }
    }

    /// A permit to wait for a peer to close its side, if there is one left.
    pub(crate) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

/// Reports to a peer that the server is busy.
///
/// What it has sent is read before the connection is closed: with bytes unread the kernel would send a reset, which
/// can overtake the answer.
async fn refuse(mut stream: Wire) {
    let refused = async {
        stream.write_all(&[State::AccessDenied.to_byte()]).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        let mut left = 64 * 1024_usize;
        while left > 0 {
            match stream.read(&mut rest).await? {
                0 => break,
                length => left = left.saturating_sub(length),
            }
        }
        io::Result::Ok(())
    };
    let _ = timeout(CLOSE_LIMIT, refused).await;
}
