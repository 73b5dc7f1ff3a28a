//! The slots that tests take on a server: how many tests it may run at the same time, in all and for one client.
//!
//! A server that runs one test at a time gives the slot to the first client whose streams are connected. One that runs
//! several reserves a slot before a client opens streams, so that a client beyond the limit learns at once that the
//! server is busy.
//!
//! A client that has gone may leave its last message unread for a moment, and its slot taken. So before a client is
//! refused, the tests that hold slots are asked first ([`Slots::await_free`]).

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iperf_model::{Concurrency, ServerConfig};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::capacity::Capacity;
use crate::inquiry::{Inquiries, Inquiry, Respondent};
use crate::waiting::Origin;

/// How long a client waits for slots that are about to become free: more than a thread waits for a processor.
const ENDING_LIMIT: Duration = Duration::from_secs(4);

/// How many slots there are.
#[derive(Clone, Copy, Debug)]
enum Limit {
    Tests(usize),
    Resources(Capacity),
}

/// The slots of a server. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// One more is free.
    freed: Notify,
}

#[derive(Debug)]
struct State {
    limit: Limit,
    /// How many may be of one origin.
    per_client: Option<usize>,
    taken: HashMap<u64, Taken>,
    last: u64,
}

#[derive(Debug)]
struct Taken {
    origin: Origin,
    streams: usize,
    /// Asks whether the client is still there.
    respondent: Respondent,
}

/// A slot, taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    number: u64,
    /// From those that would like to have it.
    pub(crate) inquiries: Inquiries,
}

/// A test's slot, which it gives back before its client can see that the test is over: what the client starts next
/// finds it free.
pub(crate) struct HeldSlot {
    slot: Option<Slot>,
    on_over: Option<Box<dyn FnOnce() + Send>>,
}

impl HeldSlot {
    /// `on_over` is called once the test has written its output, before the slot is free.
    pub(crate) fn new(slot: Slot, on_over: impl FnOnce() + Send + 'static) -> Self {
        Self {
            slot: Some(slot),
            on_over: Some(Box::new(on_over)),
        }
    }

    /// The test is over.
    pub(crate) fn give_back(&mut self) {
        if let Some(on_over) = self.on_over.take() {
            on_over();
        }
        self.slot = None;
    }

    /// Questions of clients that wait for the slot.
    pub(crate) fn inquiries(&mut self) -> Option<&mut Inquiries> {
        self.slot.as_mut().map(|slot| &mut slot.inquiries)
    }
}

impl Slots {
    /// With all slots free.
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let (limit, per_client) = limits(config);
        let state = Mutex::new(State {
            limit,
            per_client,
            taken: HashMap::new(),
            last: 0,
        });
        let freed = Notify::new();
        Self(Arc::new(Shared { state, freed }))
    }

    /// Changes the limits. Slots that are taken stay taken.
    pub(crate) fn limit(&self, config: &ServerConfig) {
        let mut state = self.state();
        (state.limit, state.per_client) = limits(config);
    }

    /// Whether one is free for a test of this client, of this many streams.
    pub(crate) fn are_free_for(&self, origin: &Origin, streams: usize) -> bool {
        let state = self.state();
        state.fits(streams) && state.allows(origin)
    }

    /// Waits until one may be free: no longer than all tests take to look whether their client has gone, and one whose
    /// client has to end.
    pub(crate) async fn await_free(&self, origin: &Origin, streams: usize) {
        let deadline = Instant::now() + ENDING_LIMIT;
        let (inquiry, mut answered) = Inquiry::new();
        for taken in self.state().taken.values() {
            taken.respondent.ask(&inquiry);
        }
        drop(inquiry);
        loop {
            let mut freed = pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if self.are_free_for(origin, streams) {
                return;
            }
            let freed = timeout_at(deadline, async {
                tokio::select! {
                    () = freed => true,
                    () = answered.wait() => false,
                }
            });
            if freed.await != Ok(true) {
                return;
            }
        }
    }

    /// Takes a slot for a test of this many streams.
    pub(crate) fn take(&self, origin: Origin, streams: usize) -> Option<Slot> {
        let mut state = self.state();
        if !state.allows(&origin) || !state.fits(streams) {
            return None;
        }
        state.last += 1;
        let number = state.last;
        let (respondent, inquiries) = Inquiries::new();
        let taken = Taken {
            origin,
            streams,
            respondent,
        };
        state.taken.insert(number, taken);
        Some(Slot {
            slots: self.clone(),
            number,
            inquiries,
        })
    }

    /// Takes a slot for a test of this many streams, once those that are about to become free are.
    pub(crate) async fn take_when_free(&self, origin: Origin, streams: usize) -> Option<Slot> {
        if let Some(slot) = self.take(origin.clone(), streams) {
            return Some(slot);
        }
        self.await_free(&origin, streams).await;
        self.take(origin, streams)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fits(&self, streams: usize) -> bool {
        let taken = self.taken.len();
        match self.limit {
            Limit::Tests(limit) => taken < limit,
            Limit::Resources(capacity) => {
                let used: usize = self.taken.values().map(|taken| taken.streams).sum();
                capacity.fits(taken + 1, used + streams)
            }
        }
    }

    fn allows(&self, origin: &Origin) -> bool {
        let of_client = |taken: &&Taken| taken.origin == *origin;
        let held = || self.taken.values().filter(of_client).count();
        self.per_client.is_none_or(|limit| held() < limit)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.state().taken.remove(&self.number);
        self.slots.0.freed.notify_waiters();
    }
}

fn limits(config: &ServerConfig) -> (Limit, Option<usize>) {
    let limit = match config.tests {
        Concurrency::Tests(tests) => Limit::Tests(tests.get() as usize),
        Concurrency::Resources => Limit::Resources(Capacity::of_system()),
    };
    (
        limit,
        config.tests_per_client.map(|tests| tests.get() as usize),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use iperf_model::{Listen, SocketName};
    use std::num::NonZeroU32;

    fn origin(host: &str) -> Origin {
        let host = host.to_owned();
        Origin::of(&SocketName { host, port: 1 })
    }

    fn config(tests: u32, per_client: u32) -> ServerConfig {
        ServerConfig {
            tests: NonZeroU32::new(tests).map_or(Concurrency::Resources, Concurrency::Tests),
            tests_per_client: NonZeroU32::new(per_client),
            ..ServerConfig::new(Listen::Inet { port: 0 })
        }
    }

    #[test]
    fn a_client_at_its_limit_leaves_room_for_others() {
        let slots = Slots::new(&config(3, 1));
        let (one, two) = (origin("10.0.0.1"), origin("10.0.0.2"));
        let first = slots.take(one.clone(), 1).unwrap();
        assert!(!slots.are_free_for(&one, 1) && slots.are_free_for(&two, 1));
        assert!(slots.take(one.clone(), 1).is_none());
        let _second = slots.take(two, 1).unwrap();
        drop(first);
        assert!(slots.are_free_for(&one, 1));
    }

    #[test]
    fn a_lower_limit_takes_no_place_away_and_gives_none() {
        let slots = Slots::new(&config(3, 0));
        let client = origin("10.0.0.1");
        let mut held: Vec<_> = (0..3)
            .map(|_| slots.take(client.clone(), 1).unwrap())
            .collect();
        slots.limit(&config(2, 0));
        for left in [3, 2, 1] {
            assert_eq!(slots.are_free_for(&client, 1), left < 2, "{left} run");
            held.pop();
        }
        slots.limit(&config(2, 1));
        held.push(slots.take(client.clone(), 1).unwrap());
        assert!(!slots.are_free_for(&client, 1) && slots.are_free_for(&origin("10.0.0.2"), 1));
    }

    #[test]
    fn resources_end_somewhere_and_come_back() {
        let slots = Slots::new(&config(0, 0));
        let client = origin("10.0.0.1");
        let held: Vec<_> = std::iter::from_fn(|| slots.take(client.clone(), 100)).collect();
        assert!(slots.take(client.clone(), 1000).is_none());
        drop(held);
        assert!(slots.are_free_for(&client, 1));
    }

    #[tokio::test]
    async fn a_client_waits_for_a_place_until_its_holder_has_looked_or_left() {
        let slots = Slots::new(&config(2, 0));
        let client = origin("10.0.0.1");
        let take = || slots.take(client.clone(), 1).unwrap();
        let (mut stays, mut leaves) = (take(), take());
        for leaves_now in [false, true] {
            let holders = async {
                stays.inquiries.next().await;
                stays.inquiries.answer_all();
                leaves.inquiries.next().await;
                if leaves_now {
                    drop(leaves);
                    None
                } else {
                    leaves.inquiries.answer_all();
                    Some(leaves)
                }
            };
            let (slot, left) = tokio::join!(slots.take_when_free(client.clone(), 1), holders);
            assert_eq!(slot.is_some(), leaves_now);
            let Some(left) = left else { break };
            leaves = left;
        }
    }
}
