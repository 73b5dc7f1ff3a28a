//! The end of a test by amount (`-n`, `-k`), after the amount has been sent: when the last bytes have arrived.

use std::time::{Duration, Instant};

use iperf_engine::Run;
use iperf_model::{Limit, TestConfig, Transport};

/// How often to check whether the last bytes have arrived.
const FLUSH_PAUSE: Duration = Duration::from_micros(500);

/// The longest time without an acknowledgement before the client stops waiting for the last bytes.
const FLUSH_STALL: Duration = Duration::from_secs(5);

/// A server that has been silent for this long (longer at low rates) has lost the last datagrams of a quota.
const LOST_TAIL: Duration = Duration::from_secs(2);

/// Waits until the server's kernel has everything that was sent: data in flight belongs to the test.
#[derive(Debug)]
pub(crate) struct Flush {
    wanted: bool,
    waiting: Option<Waiting>,
}

/// The amount of unacknowledged data, and since when it has not changed.
#[derive(Debug)]
struct Waiting {
    left: usize,
    since: Instant,
}

impl Flush {
    pub(crate) fn new(test: &TestConfig) -> Self {
        let by_amount = !matches!(test.limit, Limit::Seconds(_) | Limit::Endless);
        Self {
            wanted: by_amount && test.direction.client_sends(),
            waiting: None,
        }
    }

    /// This end's file has been sent: data in flight belongs to the test as the last bytes of a quota do.
    pub(crate) fn source_is_done(&mut self) {
        self.wanted = true;
    }

    /// Whether the end of the test is the arrival of what this end sent.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether the quota is met and the last bytes are in flight.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// When to check again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|_| Instant::now() + FLUSH_PAUSE)
    }

    /// Stops the senders of a test whose quota is met; true when everything has arrived, or can't arrive any more.
    pub(crate) fn done(&mut self, run: &mut Run, now: Instant) -> bool {
        if !self.wanted {
            return true;
        }
        run.stop_senders();
        let left = run.unacknowledged();
        let waiting = self.waiting.get_or_insert(Waiting { left, since: now });
        if left < waiting.left {
            *waiting = Waiting { left, since: now };
        }
        left == 0 || now.duration_since(waiting.since) > FLUSH_STALL
    }
}

/// Whether a server that announced its total has sent all of it, and all has arrived.
pub(crate) fn all_has_come(run: &Run, test: &TestConfig) -> bool {
    let by_amount = !matches!(test.limit, Limit::Seconds(_) | Limit::Endless);
    let has_sent = !test.direction.client_sends() || run.has_sent_quota();
    by_amount && has_sent && !run.is_omitting() && run.has_received_all() == Some(true)
}

/// Whether a server that sends datagrams is done although the last ones are lost: nothing has arrived for a while.
pub(crate) fn tail_is_lost(run: &mut Run, test: &TestConfig, now: Instant) -> bool {
    let by_amount = !matches!(test.limit, Limit::Seconds(_) | Limit::Endless);
    let datagrams = test.transport == Transport::Udp && test.direction.server_sends();
    if !by_amount || !datagrams || !run.has_sent_quota() || run.is_omitting() || run.bytes().1 == 0
    {
        return false;
    }
    // Twenty times the time between two datagrams of a stream, for they may be far apart.
    let spacing = test.pacing.rate.map_or(Duration::ZERO, |rate| {
        Duration::from_secs_f64(8.0 * f64::from(test.block) / rate.bits().max(1) as f64)
    });
    let patience = LOST_TAIL.max(20 * spacing);
    run.receive_silence(now)
        .is_some_and(|silence| silence >= patience)
}
