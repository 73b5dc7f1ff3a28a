//! Which handshake may listen for data streams on a port that serves one handshake at a time (UDP, SCTP).
//!
//! The others are not refused while one holds the port: they wait in order. A holder that keeps others waiting has as long
//! as an orderly client needs to open its streams one after another, so that a slow one can't keep the port.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// How long a handshake waits for the port.
const WAIT_LIMIT: Duration = Duration::from_secs(20);

/// What a holder that keeps others waiting gets beyond the time of an orderly client, shared among those that wait …
const GRACE: Duration = Duration::from_secs(1);

/// … but not less than this.
const LEAST_GRACE: Duration = Duration::from_millis(100);

/// An orderly client never gets more than this, since a client controls its round trip.
const MOST_OPENING: Duration = Duration::from_secs(10);

/// A client on a busy machine takes longer than a round trip. It has at least as long for each stream as it took to send its
/// parameters, twice; but since it chooses that time, altogether not more than this.
const MOST_REACTION: Duration = Duration::from_secs(2);

/// Hands out the port.
#[derive(Clone, Debug)]
pub(crate) struct PortPermits {
    permit: Arc<Semaphore>,
    /// Handshakes that wait for the port.
    waiting: watch::Sender<usize>,
}

/// A permit to use the port.
#[derive(Debug)]
pub(crate) struct PortPermit {
    _permit: OwnedSemaphorePermit,
}

/// How a holder learns that others wait, and how long it may continue then.
#[derive(Debug)]
pub(crate) struct Contention {
    waiting: watch::Receiver<usize>,
    since: Instant,
    /// How long an orderly client takes to open its streams.
    opening: Duration,
    contested: Option<Instant>,
}

/// Counts a waiting handshake as long as it waits.
struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|count| *count += 1);
        Self(waiting)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl PortPermits {
    pub(crate) fn new() -> Self {
        Self {
            permit: Arc::new(Semaphore::new(1)),
            waiting: watch::Sender::new(0),
        }
    }

    /// Waits for the port; `None` when that takes too long.
    pub(crate) async fn acquire(&self) -> Option<PortPermit> {
        if let Ok(permit) = self.permit.clone().try_acquire_owned() {
            return Some(PortPermit { _permit: permit });
        }
        let _counted = Counted::new(&self.waiting);
        let permit = timeout(WAIT_LIMIT, self.permit.clone().acquire_owned()).await;
        // The semaphore is never closed.
        let permit = permit.ok()?.ok()?;
        Some(PortPermit { _permit: permit })
    }

    /// Watches for others from now on, for a holder that opens this many streams over this round trip, and took `reaction` to
    /// send its parameters.
    pub(crate) fn contention(
        &self,
        streams: usize,
        round_trip: Duration,
        reaction: Duration,
    ) -> Contention {
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        // A round trip for each hello, and as much again.
        let on_the_network = round_trip.saturating_mul(2 * streams).min(MOST_OPENING);
        let at_the_client = reaction.saturating_mul(2 * streams).min(MOST_REACTION);
        Contention {
            waiting: self.waiting.subscribe(),
            since: Instant::now(),
            opening: on_the_network.max(at_the_client),
            contested: None,
        }
    }
}

impl Contention {
    /// Resolves when the number of waiting handshakes changes.
    pub(crate) async fn changed(&mut self) {
        if self.waiting.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// When the holder must be done, if others wait at `now`.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let waiting = *self.waiting.borrow_and_update();
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let Some(grace) = GRACE.checked_div(waiting) else {
            self.contested = None;
            return None;
        };
        let contested = *self.contested.get_or_insert(now);
        let orderly = self.since + self.opening;
        Some(contested.max(orderly) + grace.max(LEAST_GRACE))
    }

    /// Since when the port is held.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_slow_client_has_the_time_that_it_needs_but_not_all_that_it_wants() {
        let permits = PortPermits::new();
        let _held = permits.acquire().await.unwrap();
        let others = permits.clone();
        let _waiter = tokio::spawn(async move { others.acquire().await.is_some() });
        tokio::task::yield_now().await;
        for (reaction, opening) in [(300, 1200), (4000, 2000)] {
            let reaction = Duration::from_millis(reaction);
            let mut contention = permits.contention(2, ROUND_TRIP, reaction);
            let since = contention.since();
            let expected = since + Duration::from_millis(opening) + GRACE;
            assert_eq!(contention.deadline(since), Some(expected));
        }
    }

    #[tokio::test]
    async fn a_holder_has_no_deadline_until_another_waits() {
        let permits = PortPermits::new();
        let held = permits.acquire().await.unwrap();
        let mut contention = permits.contention(4, ROUND_TRIP, Duration::ZERO);
        let start = contention.since();
        let late = start + Duration::from_secs(9);
        assert_eq!(contention.deadline(late), None);

        let others = permits.clone();
        let waiter = tokio::spawn(async move { others.acquire().await.is_some() });
        contention.changed().await;
        let deadline = contention.deadline(late);
        assert_eq!(deadline, Some(late + GRACE), "from when another waits");
        let later = late + Duration::from_millis(500);
        assert_eq!(contention.deadline(later), deadline, "and it stays");

        drop(held);
        assert!(waiter.await.unwrap(), "the next one gets the port");
        contention.changed().await;
        assert_eq!(contention.deadline(later), None);
    }

    #[tokio::test]
    async fn an_orderly_client_has_the_round_trips_that_it_needs() {
        let permits = PortPermits::new();
        let _held = permits.acquire().await;
        let mut contention = permits.contention(100, ROUND_TRIP, Duration::ZERO);
        let mut endless = permits.contention(1_000_000, Duration::from_secs(1000), Duration::ZERO);
        let start = contention.since();
        let _counted: Vec<_> = (0..4).map(|_| Counted::new(&permits.waiting)).collect();
        let orderly = start + 200 * ROUND_TRIP;
        assert_eq!(contention.deadline(start), Some(orderly + GRACE / 4));
        let (since, deadline) = (endless.since(), endless.deadline(start).unwrap());
        assert_eq!(deadline, since + MOST_OPENING + GRACE / 4);
        let _more: Vec<_> = (0..60).map(|_| Counted::new(&permits.waiting)).collect();
        assert_eq!(contention.deadline(start), Some(orderly + LEAST_GRACE));
    }

    #[tokio::test]
    async fn a_cancelled_wait_is_no_longer_counted() {
        let permits = PortPermits::new();
        let _held = permits.acquire().await;
        let _ = timeout(Duration::from_millis(10), permits.acquire()).await;
        assert_eq!(*permits.waiting.borrow(), 0);
    }
}
