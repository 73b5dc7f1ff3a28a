//! What a stream moved on either side of its cut, and what the peer reports about it.

use crate::datagrams::DatagramCounts;
use crate::run::running_stream::RunningStream;
use crate::worker::cut::Position;

impl RunningStream {
    pub(super) fn position(&self) -> Position {
        Position {
            bytes: self.counters.bytes(),
            blocks: self.counters.blocks(),
        }
    }

    /// Bytes moved, those before the cut left out once it has passed.
    pub(super) fn moved(&self) -> u64 {
        let bytes = self.counters.bytes();
        let Some(cut) = &self.cut else {
            return bytes;
        };
        let omitted = if self.receives_datagrams() {
            let omitted = self.datagrams.as_ref();
            omitted.and_then(|datagrams| Some(datagrams.received.omitted()?.1))
        } else {
            cut.position().map(|position| position.bytes)
        };
        match (self.restarted, omitted) {
            (true, Some(omitted)) => bytes.saturating_sub(omitted),
            // All that is known to have moved was before it.
            (true, None) => 0,
            (false, Some(omitted)) => bytes.min(omitted),
            (false, None) => bytes,
        }
    }

    /// What the worker has counted, relative to the cut as [`Self::moved`] is.
    pub(super) fn datagram_counts(&self) -> Option<DatagramCounts> {
        let all = self.all_datagrams()?;
        if self.cut.is_none() || !self.restarted {
            return Some(all);
        }
        let omitted = self.omitted_datagrams(&all);
        Some(DatagramCounts {
            packets: all.packets.saturating_sub(omitted.packets),
            lost: all.lost.saturating_sub(omitted.lost).max(0),
            out_of_order: all.out_of_order.saturating_sub(omitted.out_of_order),
            duplicates: all.duplicates.saturating_sub(omitted.duplicates),
            jitter: all.jitter,
        })
    }

    /// What the worker has counted: a sender its datagrams, a receiver what their headers show. What the peer sent last
    /// and never arrived is lost.
    pub(super) fn all_datagrams(&self) -> Option<DatagramCounts> {
        let datagrams = self.datagrams.as_ref()?;
        if self.info.role.sends() {
            return Some(DatagramCounts {
                packets: self.counters.blocks(),
                ..DatagramCounts::default()
            });
        }
        let mut counts = datagrams.received.read();
        if let Some(sent) = self.sent {
            let tail = sent.blocks.saturating_sub(counts.packets);
            counts.packets += tail;
            counts.lost = counts.lost.saturating_add_unsigned(tail);
        }
        Some(counts)
    }

    /// What of all that was counted is before the cut.
    pub(super) fn omitted_datagrams(&self, all: &DatagramCounts) -> DatagramCounts {
        let position = self.cut.as_ref().and_then(|cut| cut.position());
        if !self.receives_datagrams() {
            return DatagramCounts {
                packets: position.map_or(all.packets, |position| position.blocks),
                ..DatagramCounts::default()
            };
        }
        let seen = self.datagrams.as_ref();
        let seen = seen.and_then(|datagrams| Some(datagrams.received.omitted()?.0));
        match (seen, position) {
            (None, None) => *all,
            (Some(seen), None) => seen,
            // Those between the cut and the first arrival from after it were lost after it.
            (Some(seen), Some(position)) => DatagramCounts {
                packets: seen.packets.min(position.blocks),
                lost: (seen.lost)
                    .saturating_sub_unsigned(seen.packets.saturating_sub(position.blocks)),
                ..seen
            },
            (None, Some(position)) => {
                let behind = all.packets.saturating_sub(position.blocks);
                DatagramCounts {
                    packets: all.packets.min(position.blocks),
                    lost: all.lost.saturating_sub_unsigned(behind).max(0),
                    ..*all
                }
            }
        }
    }

    /// Whether it carries datagrams.
    pub(crate) fn carries_datagrams(&self) -> bool {
        self.datagrams.is_some()
    }

    /// Whether datagrams are counted by their headers here.
    pub(crate) fn receives_datagrams(&self) -> bool {
        self.datagrams.is_some() && !self.info.role.sends()
    }

    /// Where a sender's omitted period ended, once it has.
    pub(crate) fn cut_made(&self) -> Option<Position> {
        self.cut.as_ref()?.position()
    }

    /// What was sent in all.
    pub(crate) fn sent(&self) -> Position {
        self.position()
    }

    /// Whether a sender has ended because it had sent all it had.
    pub(crate) fn sent_all(&self) -> bool {
        self.found.sent_all
    }

    /// The peer reports where the omitted period ends, on a stream that this end receives.
    pub(crate) fn learn_cut(&self, position: Position) {
        if let Some(cut) = &self.cut
            && !self.info.role.sends()
        {
            cut.make(position);
            self.wake();
        }
    }

    /// The peer reports what it sent in all.
    pub(crate) fn learn_sent(&mut self, position: Position) {
        if !self.info.role.sends() {
            self.sent = Some(position);
        }
    }

    /// Whether the peer has reported that it sent no more than what arrived.
    pub(crate) fn is_complete(&self) -> bool {
        let Some(sent) = self.sent else {
            return false;
        };
        match &self.datagrams {
            Some(datagrams) => datagrams.received.read().packets >= sent.blocks,
            None => self.counters.bytes() >= sent.bytes,
        }
    }

    /// Whether the peer has reported what it sent in all.
    pub(crate) fn knows_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// A peer that ended without a word about its cut: this end's own has to do.
    pub(crate) fn settle_cut(&self) {
        if let Some(cut) = &self.cut
            && self.restarted
        {
            cut.make(self.at_restart);
        }
    }
}
