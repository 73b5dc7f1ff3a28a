//! The places that tests take on a server: as many as it may run at the same time, and as one client may.
//!
//! A server that runs one test after another gives its place to the first client whose streams are connected. One that
//! runs several takes a place for a client before it opens streams, so that a client beyond the limit learns at once
//! that the server is busy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iperf_model::{Concurrency, ServerConfig};

use crate::capacity::Capacity;
use crate::waiting::Origin;

/// How many there are.
#[derive(Clone, Copy, Debug)]
enum Limit {
    Tests(usize),
    Resources(Capacity),
}

/// The places of a server. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Slots(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    limit: Limit,
    /// How many may be of one origin.
    per_client: Option<usize>,
    taken: HashMap<u64, (Origin, usize)>,
    last: u64,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    number: u64,
}

impl Slots {
    /// All are free.
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let (limit, per_client) = limits(config);
        Self(Arc::new(Mutex::new(State {
            limit,
            per_client,
            taken: HashMap::new(),
            last: 0,
        })))
    }

    /// Changes how many there are. Those that are taken stay taken.
    pub(crate) fn limit(&self, config: &ServerConfig) {
        let mut state = self.state();
        (state.limit, state.per_client) = limits(config);
    }

    /// Whether one is free for a test of this client, of one stream.
    pub(crate) fn are_free_for(&self, origin: &Origin) -> bool {
        let state = self.state();
        state.fits(1) && state.allows(origin)
    }

    /// Takes a place for a test of this many streams.
    pub(crate) fn take(&self, origin: Origin, streams: usize) -> Option<Slot> {
        let mut state = self.state();
        if !state.allows(&origin) || !state.fits(streams) {
            return None;
        }
        state.last += 1;
        let number = state.last;
        state.taken.insert(number, (origin, streams));
        Some(Slot {
            slots: self.clone(),
            number,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fits(&self, streams: usize) -> bool {
        let taken = self.taken.len();
        match self.limit {
            Limit::Tests(limit) => taken < limit,
            Limit::Resources(capacity) => {
                let used: usize = self.taken.values().map(|(_, streams)| streams).sum();
                capacity.fits(taken + 1, used + streams)
            }
        }
    }

    fn allows(&self, origin: &Origin) -> bool {
        let held = || self.taken.values().filter(|(of, _)| of == origin).count();
        self.per_client.is_none_or(|limit| held() < limit)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.state().taken.remove(&self.number);
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
        assert!(!slots.are_free_for(&one) && slots.are_free_for(&two));
        assert!(slots.take(one.clone(), 1).is_none());
        let _second = slots.take(two, 1).unwrap();
        drop(first);
        assert!(slots.are_free_for(&one));
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
            assert_eq!(slots.are_free_for(&client), left < 2, "{left} run");
            held.pop();
        }
        slots.limit(&config(2, 1));
        held.push(slots.take(client.clone(), 1).unwrap());
        assert!(!slots.are_free_for(&client) && slots.are_free_for(&origin("10.0.0.2")));
    }

    #[test]
    fn resources_end_somewhere_and_come_back() {
        let slots = Slots::new(&config(0, 0));
        let client = origin("10.0.0.1");
        let held: Vec<_> = std::iter::from_fn(|| slots.take(client.clone(), 100)).collect();
        assert!(slots.take(client.clone(), 1000).is_none());
        drop(held);
        assert!(slots.are_free_for(&client));
    }
}
