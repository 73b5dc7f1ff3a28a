//! Which `MSG_ZEROCOPY` calls are in flight, and how many bytes each has.

use crate::sys::errqueue::Completion;

/// Calls that may be in flight at a time. It divides 2^32, so that the numbers of calls wrap around evenly.
pub(crate) const WINDOW: u32 = 1024;

/// The calls of a socket where each call gets one completion (TCP and UDP).
pub(crate) struct Ledger {
    /// Bytes of call `number` at `number % WINDOW`; 0 when it is complete.
    bytes: Box<[usize]>,
    /// All calls before are complete.
    oldest: u32,
    /// The number of the next call.
    next: u32,
}

/// What a completion completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self::starting_at(0)
    }

    fn starting_at(number: u32) -> Self {
        Self {
            bytes: vec![0; WINDOW as usize].into_boxed_slice(),
            oldest: number,
            next: number,
        }
    }

    /// Calls from the oldest one in flight to the newest.
    pub(crate) fn outstanding(&self) -> u32 {
        self.next.wrapping_sub(self.oldest)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.outstanding() == WINDOW
    }

    /// The slot of a call.
    fn slot(number: u32) -> usize {
        (number % WINDOW) as usize
    }

    /// A call sent `bytes`, which are not 0. The ledger must not be full.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes[Self::slot(self.next)] = bytes;
        self.next = self.next.wrapping_add(1);
    }

    /// The number of the next call.
    pub(crate) fn next_number(&self) -> u32 {
        self.next
    }

    /// The slot of the next call among [`WINDOW`], which it occupies until it is complete.
    pub(crate) fn next_slot(&self) -> usize {
        Self::slot(self.next)
    }

    /// Marks calls as complete, in any order. Numbers of calls that are not in flight are ignored.
    pub(crate) fn complete(&mut self, completion: &Completion) -> Completed {
        let mut completed = Completed::default();
        let calls = completion.calls().min(u64::from(WINDOW));
        let mut number = completion.first;
        for _ in 0..calls {
            if number.wrapping_sub(self.oldest) < self.outstanding() {
                let bytes = std::mem::take(&mut self.bytes[Self::slot(number)]);
                completed.calls += u64::from(bytes > 0);
                completed.bytes += bytes as u64;
            }
            number = number.wrapping_add(1);
        }
        while self.oldest != self.next && self.bytes[Self::slot(self.oldest)] == 0 {
            self.oldest = self.oldest.wrapping_add(1);
        }
        completed
    }

    /// Forgets the calls in flight; returns their bytes.
    pub(crate) fn abandon(&mut self) -> u64 {
        self.oldest = self.next;
        self.bytes
            .iter_mut()
            .map(|bytes| std::mem::take(bytes) as u64)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, last: u32) -> Completion {
        Completion {
            first,
            last,
            copied: false,
        }
    }

    fn completed(calls: u64, bytes: u64) -> Completed {
        Completed { calls, bytes }
    }

    #[test]
    fn numbers_wrap() {
        let mut ledger = Ledger::starting_at(u32::MAX - 1);
        for bytes in 1..=5 {
            ledger.sent(bytes);
        }
        // The calls are MAX - 1, MAX, 0, 1, 2.
        assert_eq!(
            ledger.complete(&range(u32::MAX, 1)),
            completed(3, 2 + 3 + 4)
        );
        assert_eq!(ledger.outstanding(), 5);
        assert_eq!(
            ledger.complete(&range(u32::MAX - 1, u32::MAX - 1)),
            completed(1, 1)
        );
        assert_eq!(ledger.outstanding(), 1);
        assert_eq!(ledger.complete(&range(2, 2)), completed(1, 5));
        assert_eq!(ledger.outstanding(), 0);
    }

    #[test]
    fn many_rounds_add_up_in_any_order() {
        let mut ledger = Ledger::starting_at(u32::MAX - 10_000);
        let (mut sent, mut seen) = (0, completed(0, 0));
        for round in 0..100_u32 {
            let first = ledger.next;
            for call in 0..300 {
                let bytes = (round * 7 + call) % 1000 + 1;
                ledger.sent(bytes as usize);
                sent += u64::from(bytes);
            }
            let (middle, last) = (first.wrapping_add(100), ledger.next.wrapping_sub(1));
            for part in [range(middle, last), range(first, middle.wrapping_sub(1))] {
                let now = ledger.complete(&part);
                seen = completed(seen.calls + now.calls, seen.bytes + now.bytes);
            }
            assert_eq!(ledger.outstanding(), 0);
        }
        assert_eq!(seen, completed(30_000, sent));
    }

    #[test]
    fn a_full_window_waits_for_its_oldest_call() {
        let mut ledger = Ledger::new();
        for _ in 0..WINDOW {
            assert!(!ledger.is_full());
            ledger.sent(10);
        }
        assert!(ledger.is_full());
        ledger.complete(&range(1, WINDOW - 1));
        assert!(ledger.is_full());
        assert_eq!(ledger.next_slot(), 0);
        ledger.complete(&range(0, 0));
        assert_eq!(ledger.outstanding(), 0);
    }

    #[test]
    fn completions_of_unsent_or_completed_calls_are_ignored() {
        let mut ledger = Ledger::new();
        ledger.sent(10);
        ledger.sent(20);
        assert_eq!(ledger.complete(&range(2, u32::MAX)), completed(0, 0));
        assert_eq!(ledger.complete(&range(0, 0)), completed(1, 10));
        assert_eq!(ledger.complete(&range(0, 0)), completed(0, 0));
        // A range that covers everything.
        assert_eq!(ledger.complete(&range(0, u32::MAX)), completed(1, 20));
        assert_eq!(ledger.outstanding(), 0);
    }

    #[test]
    fn forgotten_calls_are_counted_once() {
        let mut ledger = Ledger::new();
        ledger.sent(10);
        ledger.sent(20);
        ledger.complete(&range(1, 1));
        assert_eq!(ledger.abandon(), 10);
        assert_eq!((ledger.abandon(), ledger.outstanding()), (0, 0));
    }
}
