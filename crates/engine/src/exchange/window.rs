//! The requests of a connection that are in flight.

use std::time::{Duration, Instant};

/// When a request was due and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// In a closed loop the same as `sent`.
    pub(crate) due: Instant,
    pub(crate) sent: Instant,
    /// It was sent in the omitted period.
    pub(crate) omitted: bool,
}

/// Requests in flight, by number. A number has its place until its response arrives or its time is over.
#[derive(Debug)]
pub(crate) struct Window {
    /// A power of two of them, so that a number's place needs no division.
    places: Box<[Option<Waiting>]>,
    /// How many numbers may be out.
    most: u64,
    /// The first number that may still wait.
    oldest: u64,
    /// The number of the next request.
    next: u64,
}

impl Window {
    pub(crate) fn new(most: u16) -> Self {
        let most = most.max(1);
        Self {
            places: vec![None; usize::from(most).next_power_of_two()].into(),
            most: most.into(),
            oldest: 0,
            next: 0,
        }
    }

    fn place(&mut self, number: u64) -> &mut Option<Waiting> {
        let mask = self.places.len() as u64 - 1;
        &mut self.places[usize::try_from(number & mask).unwrap_or(0)]
    }

    /// How many more requests may be sent now.
    pub(crate) fn room(&self) -> u64 {
        self.most - (self.next - self.oldest)
    }

    /// The number of the next request.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The next request is sent.
    pub(crate) fn send(&mut self, waiting: Waiting) {
        let number = self.next;
        *self.place(number) = Some(waiting);
        self.next += 1;
    }

    /// The response to the request with that number has arrived; `None` if nothing waits for it.
    pub(crate) fn answer(&mut self, number: u64) -> Option<Waiting> {
        if !(self.oldest..self.next).contains(&number) {
            return None;
        }
        let waiting = self.place(number).take()?;
        self.advance();
        Some(waiting)
    }

    /// The response to the oldest request has arrived, on a stream that keeps order.
    pub(crate) fn answer_oldest(&mut self) -> Option<Waiting> {
        self.answer(self.oldest)
    }

    fn advance(&mut self) {
        while self.oldest < self.next && self.place(self.oldest).is_none() {
            self.oldest += 1;
        }
    }

    /// When the oldest request was sent.
    pub(crate) fn oldest_sent(&mut self) -> Option<Instant> {
        (self.oldest < self.next)
            .then(|| *self.place(self.oldest))
            .flatten()
            .map(|waiting| waiting.sent)
    }

    /// Takes out the oldest request if it was sent `timeout` ago or earlier.
    pub(crate) fn expire(&mut self, now: Instant, timeout: Duration) -> Option<Waiting> {
        let sent = self.oldest_sent()?;
        if now.saturating_duration_since(sent) < timeout {
            return None;
        }
        self.answer_oldest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(sent: Instant) -> Waiting {
        Waiting {
            due: sent,
            sent,
            omitted: false,
        }
    }

    #[test]
    fn numbers_are_out_until_they_are_answered() {
        let start = Instant::now();
        let mut window = Window::new(2);
        window.send(waiting(start));
        window.send(waiting(start));
        assert_eq!((window.room(), window.next()), (0, 2));
        assert!(window.answer(1).is_some());
        assert_eq!(window.room(), 0, "the first one keeps its place");
        assert!(window.answer(1).is_none(), "once only");
        assert!(window.answer(2).is_none(), "never sent");
        assert!(window.answer_oldest().is_some());
        assert_eq!((window.room(), window.answer(0)), (2, None));
    }

    #[test]
    fn a_request_that_timed_out_makes_room() {
        let start = Instant::now();
        let timeout = Duration::from_secs(1);
        let mut window = Window::new(3);
        for millis in [0, 10, 20] {
            window.send(waiting(start + Duration::from_millis(millis)));
        }
        let mut expired = |now| std::iter::from_fn(|| window.expire(now, timeout)).count();
        assert_eq!(
            expired(start + timeout.saturating_sub(Duration::from_nanos(1))),
            0
        );
        assert_eq!(expired(start + timeout + Duration::from_millis(10)), 2);
        assert_eq!(window.room(), 2);
        assert!(window.answer(0).is_none(), "its time is over");
        assert!(window.answer(2).is_some());
        assert_eq!(window.oldest_sent(), None);
    }
}
