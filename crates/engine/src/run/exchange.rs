//! What two ends of this program report to each other about a running test: where each sender's omitted period ended, and what
//! it sent in all.

use iperf_model::Role;
use iperf_proto::counts::{Counts, Stage, StreamCount};

use crate::run::Run;
use crate::run::ended::LostStream;
use crate::run::running_stream::RunningStream;
use crate::worker::cut::Position;

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
        if !self.exact || self.senders().next().is_none() {
            return counts;
        }
        if !self.reported.cuts {
            let cuts = self.senders().map(|stream| {
                let position = stream.cut_made()?;
                Some(count(stream, position))
            });
            if let Some(streams) = cuts.collect() {
                self.reported.cuts = true;
                let stage = Stage::Omitted;
                counts.push(Counts {
                    stage,
                    streams,
                    finite: false,
                });
            }
        }
        if !self.reported.sent && self.senders_ended() {
            self.reported.sent = true;
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

    /// Whether a lost stream ended a sender of bytes.
    pub(super) fn was_sending(&self, lost: &LostStream) -> bool {
        let has_datagrams = self.streams.iter().any(RunningStream::carries_datagrams);
        lost.role == Role::Sender && !has_datagrams
    }

    /// Whether a lost stream has cut off data that was to arrive here. A peer that ends a stream in order has sent everything,
    /// unless it reports more than what arrived; datagrams that are missing are counted.
    pub(super) fn misses_data(&self, lost: &LostStream) -> bool {
        let has_datagrams = self.receivers().any(RunningStream::receives_datagrams);
        let is_missing = match self.has_received_all() {
            Some(all) => !all,
            None => lost.source.is_some(),
        };
        lost.role == Role::Receiver && !has_datagrams && is_missing
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
