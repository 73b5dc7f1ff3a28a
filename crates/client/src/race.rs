//! The first of several addresses that a connection is made to (RFC 8305, "Happy Eyeballs").
//!
//! ```text
//! address 1 ├── no answer ──────────────────────────────►│
//! address 2      250 ms ├── connected: this one is taken  deadline
//! ```
//!
//! An address whose packets are dropped silently costs a quarter of a second, and one that refuses costs nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use crate::connect_error::ConnectError;

/// How long the next address waits while the earlier ones have not answered (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// iperf3's server reopens its listening socket between two tests. A refused connection is retried for as long as that
/// takes.
const REFUSED_RETRIES: u32 = 3;
const REFUSED_PAUSE: Duration = Duration::from_millis(40);

/// How often the attempts are polled when the time limit is over: to begin, to learn that a socket is ready, to read
/// its error, and one more.
const LAST_LOOKS: u32 = 8;

/// Connects to the first address that answers, within one time limit for all of them.
pub(crate) async fn first<T, F>(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
    attempt: impl Fn(SocketAddr) -> F + Clone + Send + Sync + 'static,
) -> Result<T, ConnectError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ConnectError>> + Send,
{
    // A few messages for each address.
    let (refused, mut refusals) = unbounded_channel();
    let mut addresses = interleave(addresses).into_iter().peekable();
    let mut attempts = JoinSet::new();
    let mut failure: Option<ConnectError> = None;
    let mut next = Instant::now();
    loop {
        let more = addresses.peek().is_some();
        if !more && attempts.is_empty() {
            return Err(failure.unwrap_or(ConnectError::NoAddress));
        }
        tokio::select! {
            biased;
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => {
                    debug!(%error, "can't connect");
                    failure = Some(plainer(failure, error));
                    next = Instant::now();
                }
                Err(panic) => return Err(ConnectError::Server(std::io::Error::other(panic))),
            },
            Some(refusal) = refusals.recv() => {
                failure = Some(plainer(failure, refusal));
                next = Instant::now();
            }
            () = sleep_until(next), if more => {
                if let Some(address) = addresses.next() {
                    let (attempt, refused) = (attempt.clone(), refused.clone());
                    attempts.spawn(async move {
                        patiently(|| attempt(address), &refused, deadline).await
                    });
                }
                next = Instant::now() + ATTEMPT_DELAY;
            }
            () = sleep_until(deadline) => {
                let refusal = failure.filter(ConnectError::is_refusal);
                return match answered(&mut attempts, &mut refusals).await {
                    Some(Ok(connection)) => Ok(connection),
                    Some(Err(error)) => Err(refusal.unwrap_or(error)),
                    None => Err(refusal.unwrap_or_else(ConnectError::timed_out)),
                };
            }
        }
    }
}

/// What a server has answered by now, without waiting: a connection, or a refusal. A program that got no processor
/// until the time limit was over has not read it yet.
async fn answered<T: 'static>(
    attempts: &mut JoinSet<Result<T, ConnectError>>,
    refusals: &mut UnboundedReceiver<ConnectError>,
) -> Option<Result<T, ConnectError>> {
    for _ in 0..LAST_LOOKS {
        // The attempts run, and the runtime asks the kernel which sockets are ready.
        yield_now().await;
        while let Some(ended) = attempts.try_join_next() {
            match ended {
                Ok(Ok(connection)) => return Some(Ok(connection)),
                Ok(Err(error)) if error.is_refusal() => return Some(Err(error)),
                _ => {}
            }
        }
        if let Ok(refusal) = refusals.try_recv() {
            return Some(Err(refusal));
        }
    }
    None
}

/// Retries for a while if nothing listens, and lets the next address begin meanwhile.
async fn patiently<T, F>(
    attempt: impl Fn() -> F,
    refused: &UnboundedSender<ConnectError>,
    deadline: Instant,
) -> Result<T, ConnectError>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    let mut retries = 0;
    loop {
        match attempt().await {
            Err(error)
                if error.is_refusal()
                    && retries < REFUSED_RETRIES
                    && Instant::now() + REFUSED_PAUSE < deadline =>
            {
                retries += 1;
                // The receiver is gone once another address has answered.
                let _ = refused.send(error);
                sleep(REFUSED_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Of two failures the more informative one: first a refusal by the server's machine, then a failure on the path, then an
/// address that was not tried.
fn plainer(known: Option<ConnectError>, new: ConnectError) -> ConnectError {
    let rank = |error: &ConnectError| match error {
        _ if error.is_refusal() => 2,
        ConnectError::Server(_) => 1,
        _ => 0,
    };
    match known {
        Some(known) if rank(&known) > rank(&new) => known,
        _ => new,
    }
}

/// The families by turns, in the resolver's order (RFC 8305, section 4): a family that does not work costs one attempt.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut mixed = Vec::new();
    for address in first {
        mixed.push(address);
        mixed.extend(second.next());
    }
    mixed.extend(second);
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::io;
    use std::sync::{Arc, Mutex};

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn refusal() -> ConnectError {
        ConnectError::Server(io::ErrorKind::ConnectionRefused.into())
    }

    fn in_ms(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    /// Port 1 connects, 2 never answers, 3 refuses, 4 is unreachable, and 5 refuses but once.
    fn network(calls: &Arc<Mutex<Vec<u16>>>) -> impl Fn(SocketAddr) -> Attempt + Clone + use<> {
        let calls = calls.clone();
        move |address| {
            let mut calls = calls.lock().unwrap();
            let before = calls.iter().filter(|port| **port == address.port()).count();
            calls.push(address.port());
            Box::pin(async move {
                match address.port() {
                    1 => Ok(address),
                    2 => pending().await,
                    5 if before > 0 => Ok(address),
                    3 | 5 => Err(refusal()),
                    _ => Err(ConnectError::Server(
                        io::ErrorKind::NetworkUnreachable.into(),
                    )),
                }
            })
        }
    }

    type Attempt = std::pin::Pin<Box<dyn Future<Output = Result<SocketAddr, ConnectError>> + Send>>;

    /// The outcome, after how many milliseconds, and which ports were tried.
    async fn race(texts: &[&str], limit: u64) -> (Result<u16, String>, u128, Vec<u16>) {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let begun = Instant::now();
        let result = first(addresses(texts), in_ms(limit), network(&calls)).await;
        let calls = calls.lock().unwrap().clone();
        (
            result
                .map(|address| address.port())
                .map_err(|error| error.to_string()),
            begun.elapsed().as_millis(),
            calls,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_address_is_tried_while_the_first_is_still_silent() {
        let (result, ms, calls) = race(&["[::1]:2", "1.1.1.1:1"], 10_000).await;
        assert_eq!((result, calls), (Ok(1), vec![2, 1]));
        assert!((250..260).contains(&ms), "{ms} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_fails_costs_no_time() {
        let (result, ms, _) = race(&["[::1]:4", "1.1.1.1:1"], 10_000).await;
        assert_eq!((result, ms), (Ok(1), 0));
        let (result, ms, calls) = race(&["[::1]:3", "1.1.1.1:1"], 10_000).await;
        assert_eq!((result, ms, calls), (Ok(1), 0, vec![3, 1]));
    }

    #[tokio::test(start_paused = true)]
    async fn all_addresses_share_one_time_limit() {
        let (result, ms, calls) = race(&["[::1]:2", "1.1.1.1:2", "1.1.1.2:2"], 400).await;
        assert!(result.unwrap_err().ends_with("Connection timed out"));
        assert!((400..410).contains(&ms), "{ms} ms");
        assert_eq!(calls, [2, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_reported_however_short_the_limit_is() {
        for limit in [1, 20, 100, 200] {
            let (result, ms, _) = race(&["1.1.1.1:3"], limit).await;
            assert!(result.unwrap_err().ends_with("onnection refused"));
            assert!(ms <= u128::from(limit), "{ms} ms");
        }
        // Also where another address does not answer.
        let (result, ..) = race(&["[::1]:3", "1.1.1.1:2"], 1000).await;
        assert!(result.unwrap_err().ends_with("onnection refused"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_answered_before_the_limit_is_known_although_the_program_looks_later() {
        for limit in [0, 20] {
            let answers = |address: SocketAddr| async move {
                // As an attempt that waits until its socket is ready.
                yield_now().await;
                match address.port() {
                    1 => Ok(()),
                    2 => pending().await,
                    _ => Err(refusal()),
                }
            };
            let look = async |text: &str| {
                let deadline = in_ms(limit);
                // The program does not run until the limit is over.
                tokio::time::advance(Duration::from_millis(limit)).await;
                let result = first(addresses(&[text]), deadline, answers).await;
                result.map_err(|error| error.to_string())
            };
            assert_eq!(look("1.1.1.1:1").await, Ok(()));
            let refused = look("1.1.1.1:3").await.unwrap_err();
            assert!(refused.ends_with("onnection refused"), "{refused}");
            let silent = look("1.1.1.1:2").await.unwrap_err();
            assert!(silent.ends_with("Connection timed out"), "{silent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_opens_its_listener_anew_is_found() {
        let (result, ms, calls) = race(&["1.1.1.1:5"], 10_000).await;
        assert_eq!((result, calls), (Ok(5), vec![5, 5]));
        assert!(ms >= 40, "{ms} ms");
    }

    #[test]
    fn families_take_turns() {
        let mixed = interleave(addresses(&[
            "[::1]:1",
            "[::2]:2",
            "[::3]:3",
            "1.1.1.1:4",
            "1.1.1.2:5",
        ]));
        let ports: Vec<u16> = mixed.iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [1, 4, 2, 5, 3]);
        let mixed = interleave(addresses(&["1.1.1.1:1", "[::1]:2", "[::2]:3"]));
        let ports: Vec<u16> = mixed.iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [1, 2, 3]);
    }
}
