//! What limits only some of a direction's streams, which their mean does not show.

use iperf_model::{Cause, Limitation};

use super::{AT_RATE, Direction, Evidence};

/// A stream with less than this part of the mean of all is slow.
const SLOW: f64 = 0.5;

/// How a cause is found.
type Find<'a> = fn(&Direction<'a>) -> Option<Limitation>;

/// What may hold back some streams and not the others.
const fn causes<'a>() -> [(Cause, Find<'a>); 2] {
    [
        (Cause::ReceiveWindow, Direction::window),
        (Cause::Congestion, Direction::congestion),
    ]
}

impl<'a> Direction<'a> {
    /// Whether the mean of all streams shows this cause because of a few slow ones: less than half of the streams do by
    /// themselves.
    pub(super) fn is_of_few(&self, cause: Cause) -> bool {
        let find = causes().into_iter().find(|(known, _)| *known == cause);
        find.is_some_and(|(_, find)| {
            let held = self
                .streams
                .iter()
                .filter(|stream| find(&self.alone(stream)).is_some());
            2 * held.count() < self.streams.len() && self.slow_ones(find).is_some()
        })
    }

    /// This direction as if it had only one of its streams.
    fn alone(&self, stream: &'a Evidence) -> Self {
        Direction {
            frame: self.frame,
            streams: vec![stream],
            role: self.role,
        }
    }

    /// What is to be added to `found`, the causes that all streams together show.
    pub(super) fn of_some(&self, found: &[Limitation]) -> Vec<Limitation> {
        if self.streams.len() < 2 {
            return Vec::new();
        }
        let is_named = |cause| found.iter().any(|limit| limit.cause == cause);
        let mut limits = Vec::new();
        if !is_named(Cause::Bitrate) {
            limits.extend(self.most_keep_to_the_rate());
        }
        for (cause, find) in causes() {
            if !is_named(cause) {
                limits.extend(self.slow_ones(find));
            }
        }
        limits
    }

    /// `-b` limits half of the streams or more; what holds the others back is another cause.
    fn most_keep_to_the_rate(&self) -> Option<Limitation> {
        let rate = self.frame.rate.filter(|_| self.role.sends())?.bits() as f64;
        let keeps =
            |stream: &&&Evidence| stream.bytes as f64 * 8.0 / self.frame.seconds >= AT_RATE * rate;
        let (keeping, all) = (
            self.streams.iter().filter(keeps).count(),
            self.streams.len(),
        );
        (2 * keeping >= all).then(|| {
            let evidence = format!("{keeping} of {all} streams kept to the requested rate");
            self.limit(Cause::Bitrate, keeping as f64 / all as f64, evidence)
        })
    }

    /// What holds slow streams back, each judged separately.
    fn slow_ones(&self, find: Find<'a>) -> Option<Limitation> {
        let mean = self.mean(|stream| Some(stream.bytes as f64))?;
        let slow = self.streams.iter();
        let slow = slow.filter(|stream| (stream.bytes as f64) < SLOW * mean);
        let held: Vec<Limitation> = slow
            .filter_map(|stream| find(&self.alone(stream)))
            .collect();
        let worst = held.iter().max_by(|a, b| a.share.total_cmp(&b.share))?;
        let all = self.streams.len();
        let share = held.iter().map(|limit| limit.share).sum::<f64>() / all as f64;
        let evidence = format!(
            "{} of {all} streams, at less than half of the mean rate: {}",
            held.len(),
            worst.evidence
        );
        Some(self.limit(worst.cause, share, evidence))
    }
}
