//! What two ends of this program report to each other about a running test: where each sender's omitted period ended, and what
//! it sent in all.

use iperf_proto::counts::{Counts, Stage, StreamCount};

use crate::run::Run;
use crate::run::running_stream::RunningStream;
use crate::worker::cut::Position;

/// What this end has reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// See [`crate::RunPlan::exact`].
    pub(super) exact: bool,
    told_cuts: bool,
    told_sent: bool,
}

impl Exchange {
    pub(super) fn new(exact: bool) -> Self {
        Self {
            exact,
            told_cuts: false,
            told_sent: false,
        }
    }
}

impl Run {
    fn senders(&self) -> impl Iterator<Item = &RunningStream> {
        self.streams.iter().filter(|stream| stream.sends())
    }

    pub(super) fn receivers(&self) -> impl Iterator<Item = &RunningStream> {
        self.streams.iter().filter(|stream| !stream.sends())
    }

    /// What to report to the peer now: where the omitted period ended in this end's streams, and once all its senders
    /// have ended, what they sent. Each is returned once.
    pub fn counts_to_tell(&mut self) -> Vec<Counts> {
        let mut counts = Vec::new();
        if !self.exchange.exact || self.senders().next().is_none() {
            return counts;
        }
        if !self.exchange.told_cuts {
            let cuts = self.senders().map(|stream| {
                let position = stream.cut_made()?;
                Some(count(stream, position))
            });
            if let Some(streams) = cuts.collect() {
                self.exchange.told_cuts = true;
                let stage = Stage::Omitted;
                counts.push(Counts {
                    stage,
                    streams,
                    finite: false,
                });
            }
        }
        if !self.exchange.told_sent && self.senders_ended() {
            self.exchange.told_sent = true;
            let streams = self.senders().map(|stream| count(stream, stream.sent()));
            counts.push(Counts {
                stage: Stage::Sent,
                streams: streams.collect(),
                finite: self.senders().any(RunningStream::sent_all),
            });
        }
        counts
    }

    /// Takes the peer's report.
    pub fn learn_counts(&mut self, counts: &Counts) {
        self.peer_is_finite |= counts.finite;
        for count in &counts.streams {
            let position = Position {
                bytes: count.bytes,
                blocks: count.blocks,
            };
            let streams = self.streams.iter_mut();
            for stream in streams.filter(|stream| stream.id() == count.id) {
                match counts.stage {
                    Stage::Omitted => stream.learn_cut(position),
                    Stage::Sent => stream.learn_sent(position),
                }
            }
        }
    }

    /// Whether everything has arrived that the peer reports as sent; `None` before its report.
    pub fn has_received_all(&self) -> Option<bool> {
        let knows =
            self.receivers().next().is_some() && self.receivers().all(RunningStream::knows_sent);
        knows.then(|| self.receivers().all(RunningStream::is_complete))
    }

    /// Whether the peer has sent a file or an amount to its end, so that what has not come yet is part of the test.
    pub fn peer_is_finite(&self) -> bool {
        self.peer_is_finite
    }

    /// Nothing more is to be learned from the peer.
    pub(super) fn settle_cuts(&self) {
        for stream in &self.streams {
            stream.settle_cut();
        }
    }
}

fn count(stream: &RunningStream, position: Position) -> StreamCount {
    StreamCount {
        id: stream.id(),
        bytes: position.bytes,
        blocks: position.blocks,
    }
}
