//! Watches a running measurement, at both ends: reports what became due, and detects lost streams, wrong data, and
//! peers that send or read nothing.

use std::time::{Duration, Instant};

use iperf_model::Event;
use iperf_zc::FileError;
use nix::errno::Errno;

use crate::run::Run;
use crate::run::ended::{LostStream, WorkerEnd};
use crate::run::measurement::Measurement;
use crate::worker::Ending;

/// A lost data stream is most often the first sign of a lost peer. The control connection gets this long to fail too,
/// which gives the better message.
const LOST_STREAM_GRACE: Duration = Duration::from_secs(1);

/// How long a peer may do nothing.
#[derive(Clone, Copy, Debug)]
pub struct WatchLimits {
    /// How often to look although nothing else is due.
    pub period: Duration,
    /// Nothing arrives.
    pub silence: Duration,
    /// Not even the first byte arrives.
    pub first_byte: Option<Duration>,
    /// A peer with closed windows takes nothing. One that is slow keeps its windows open.
    pub stall: Duration,
}

/// Why a running test can't continue.
#[derive(Debug)]
pub enum Trouble {
    /// A data stream ended, or what it carried is wrong.
    Lost(LostStream),
    /// Nothing has arrived for as long as allowed.
    Silence,
    /// Nothing has arrived from the beginning on, for this long.
    Mute(Duration),
    /// The peer has taken nothing for this long.
    Stalled(Duration),
}

/// What a look found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The time of the test is over.
    pub time_is_over: bool,
    /// All senders have ended, the last ones with their files.
    pub files_are_sent: bool,
}

/// Looks at a running test now and then.
#[derive(Debug)]
pub struct Watch {
    limits: WatchLimits,
    /// The streams that were lost.
    lost: Vec<LostStream>,
    /// How many of them were lost while the test ran; the others when it ended.
    lost_before_the_end: usize,
    /// Until when the peer may report why.
    reason_until: Option<Instant>,
}

impl Watch {
    /// Watches a test that has just begun.
    pub fn new(limits: WatchLimits) -> Self {
        Self {
            limits,
            lost: Vec::new(),
            lost_before_the_end: 0,
            reason_until: None,
        }
    }

    /// When to look again although nothing happened.
    pub fn deadline(&self, measurement: &Measurement, now: Instant) -> Instant {
        [measurement.deadline(), self.reason_until]
            .into_iter()
            .flatten()
            .fold(now + self.limits.period, Instant::min)
    }

    /// Looks at the clock, the workers and the peer. Intervals go to `report`.
    pub fn look(
        &mut self,
        measurement: &mut Measurement,
        now: Instant,
        report: impl FnMut(Event),
    ) -> Result<Seen, Trouble> {
        let mut seen = Seen {
            time_is_over: measurement.report_due(now, report),
            files_are_sent: false,
        };
        let run = measurement.run();
        for end in run.ended_workers() {
            seen.files_are_sent |= matches!(end.ending, Ending::SourceDone) && run.senders_ended();
            let Some(lost) = end.loss() else {
                continue;
            };
            if lost.source.as_ref().is_some_and(FileError::is) {
                // The peer has no better message about a file of this machine.
                return Err(Trouble::Lost(lost));
            }
            self.add(lost, now);
            self.lost_before_the_end = self.lost.len();
        }
        if let Some(lost) = run.wrong_data() {
            // No better message can arrive.
            return Err(Trouble::Lost(lost));
        }
        let silence = run.receive_silence(now);
        let lasts = |limit: Duration| silence.is_some_and(|silence| silence >= limit);
        if lasts(self.limits.silence) {
            return Err(Trouble::Silence);
        }
        if let Some(limit) = self.limits.first_byte
            && lasts(limit)
            && run.arrived() == 0
        {
            return Err(Trouble::Mute(limit));
        }
        let limit = self.limits.stall;
        if run.send_stall(now).is_some_and(|stall| stall >= limit) {
            return Err(Trouble::Stalled(limit));
        }
        Ok(seen)
    }

    /// What made a worker fail on this machine, at the end of a test that found nothing wrong until then: what was counted
    /// is too little, and the network had no part in it.
    pub fn fault(&mut self, run: &mut Run, now: Instant) -> Option<LostStream> {
        let last = run.ended_workers().into_iter();
        for lost in last.filter_map(WorkerEnd::loss) {
            self.add(lost, now);
        }
        self.take(is_of_this_machine)
    }

    /// A stream that was lost before everything on it had arrived, or before its sender was to stop, at the end of a test
    /// that the peer ended as a whole one. A peer that has ended the test may close what it receives on before the sender
    /// here has stopped.
    pub fn cut_off(&mut self, run: &Run) -> Option<LostStream> {
        let before = self.lost_before_the_end.min(self.lost.len());
        let mut noticed = self.lost[..before].iter();
        if let Some(index) = noticed.position(|lost| run.was_sending(lost)) {
            return Some(self.lost.swap_remove(index));
        }
        self.take(|lost| run.misses_data(lost))
    }

    /// Whether a stream was lost and the peer may still report why.
    pub fn awaits_reason(&self) -> bool {
        self.reason_until.is_some()
    }

    /// The stream that was lost, once the peer has had its time to report why.
    pub fn lost(&mut self, now: Instant) -> Result<(), Trouble> {
        if self.reason_until.is_none_or(|until| now < until) {
            return Ok(());
        }
        self.reason_until = None;
        let first = self.lost.drain(..).next();
        first.map_or(Ok(()), |lost| Err(Trouble::Lost(lost)))
    }

    fn add(&mut self, lost: LostStream, now: Instant) {
        self.lost.push(lost);
        self.reason_until.get_or_insert(now + LOST_STREAM_GRACE);
    }

    fn take(&mut self, is_wanted: impl Fn(&LostStream) -> bool) -> Option<LostStream> {
        let index = self.lost.iter().position(is_wanted)?;
        Some(self.lost.swap_remove(index))
    }
}

/// Whether the system refused a call for a reason that has nothing to do with the peer or the way to it.
fn is_of_this_machine(lost: &LostStream) -> bool {
    let errno = lost.source.as_ref().and_then(std::io::Error::raw_os_error);
    errno.is_some_and(|number| {
        matches!(
            Errno::from_raw(number),
            Errno::ENOMEM
                | Errno::ENOBUFS
                | Errno::EIO
                | Errno::EPERM
                | Errno::EACCES
                | Errno::EINVAL
                | Errno::EMFILE
                | Errno::ENFILE
                | Errno::EFAULT
                | Errno::ENOSYS
        )
    })
}
