//! How the worker of a stream ended: reported exactly once, even if it ended while its run waited for that.

use iperf_zc::verify::Difference;
use tracing::debug;

use crate::run::ended::WorkerEnd;
use crate::run::running_stream::RunningStream;
use crate::worker::Ending;

impl RunningStream {
    /// Reports an ended worker once.
    pub(crate) fn take_ending(&mut self) -> Option<WorkerEnd> {
        self.join_if_done();
        self.found.ended.take()
    }

    /// Joins the worker if it has ended; true when there is none any more.
    pub(crate) fn join_if_done(&mut self) -> bool {
        if self.thread.is_some()
            && let Some(ending) = self.ending.take()
        {
            self.thread = None;
            self.note(ending);
        }
        self.thread.is_none()
    }

    fn note(&mut self, ending: Ending) {
        if let Ending::Failed(error) = &ending {
            self.found.difference = Difference::of(error);
        }
        self.found.sent_all = matches!(ending, Ending::SourceDone | Ending::QuotaMet);
        let info = &self.info;
        debug!(stream = info.id, ?ending, "worker ended");
        self.found.ended = Some(WorkerEnd {
            id: info.id,
            role: info.role,
            ending,
        });
    }

    /// What the worker, which has ended, found to be other than it was sent.
    pub(crate) fn difference(&self) -> Option<Difference> {
        self.found.difference
    }
}
