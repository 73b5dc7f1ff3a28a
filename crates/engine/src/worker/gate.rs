//! Where workers wait until the test begins.
//!
//! On a busy machine, starting a hundred threads can take longer than the test, and those that start first would delay
//! the others. So all of them are ready before any of them starts.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Opened once, for all.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Shut,
    /// The test began at this time.
    Open(Instant),
    /// There will be no test.
    Cancelled,
}

impl Gate {
    /// Waits until the gate opens, and returns when the test began; `None` when it never will.
    pub(crate) fn pass(&self) -> Option<Instant> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let shut = |state: &mut State| matches!(state, State::Shut);
        let state = self
            .changed
            .wait_while(state, shut)
            .unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Open(start) => Some(start),
            State::Shut | State::Cancelled => None,
        }
    }

    /// Opens the gate to a test that began at `start`.
    pub(crate) fn open(&self, start: Instant) {
        self.change(State::Open(start));
    }

    /// Releases all waiting workers without a start.
    pub(crate) fn cancel(&self) {
        self.change(State::Cancelled);
    }

    fn change(&self, new: State) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Shut) {
            *state = new;
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn passed(change: impl Fn(&Gate)) -> Vec<Option<Instant>> {
        let gate = Arc::new(Gate::default());
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let gate = gate.clone();
                std::thread::spawn(move || gate.pass())
            })
            .collect();
        change(&gate);
        waiting
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    }

    #[test]
    fn all_learn_when_the_test_began() {
        let start = Instant::now();
        assert_eq!(passed(|gate| gate.open(start)), vec![Some(start); 4]);
    }

    #[test]
    fn workers_of_a_test_that_never_begins_end() {
        assert_eq!(passed(Gate::cancel), vec![None; 4]);
    }

    #[test]
    fn an_open_gate_stays_open() {
        let start = Instant::now();
        let gate = Gate::default();
        gate.open(start);
        gate.cancel();
        assert_eq!(gate.pass(), Some(start));
    }
}
