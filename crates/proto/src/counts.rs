//! Counts that two ends of this program exchange during a test, so that both count the same: where the omitted
//! period ended in each stream of a sender, and what it sent in all.
//!
//! ```text
//! 66, {"omitted":[{"id":1,"bytes":655360,"blocks":5}]}
//! 66, {"sent":[{"id":1,"bytes":1310720,"blocks":10}],"finite":true}
//! ```

use serde_json::{Value, json};

use crate::ParseError;
use crate::json::{Fields, text};

/// The byte that announces them. iperf3 has no such state, and never gets it.
pub const COUNTS: u8 = 66;

/// The most bytes of such a message: 10,000 streams of a direction take less.
pub const MAX_COUNTS: usize = 1024 * 1024;

/// What the counts are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What was sent in the omitted period.
    Omitted,
    /// All that was sent, the omitted period included: nothing more comes.
    Sent,
}

impl Stage {
    fn key(self) -> &'static str {
        match self {
            Self::Omitted => "omitted",
            Self::Sent => "sent",
        }
    }
}

/// What was sent on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamCount {
    /// The stream's id, see [`crate::stream_id()`].
    pub id: u32,
    /// Bytes.
    pub bytes: u64,
    /// Blocks: for UDP, datagrams, whose numbers begin at 1.
    pub blocks: u64,
}

/// What was sent on all streams of one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// What they are of.
    pub stage: Stage,
    /// One for each stream that the end sends on.
    pub streams: Vec<StreamCount>,
    /// The test ended because a sender had sent all that it had, a file or an amount, and not by the clock.
    pub finite: bool,
}

impl Counts {
    /// Reads a peer's message.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = text(bytes);
        let fields = Fields::parse(&text)?;
        let found = [Stage::Omitted, Stage::Sent]
            .into_iter()
            .find_map(|stage| Some((stage, fields.objects(stage.key())?)));
        let (stage, streams) = found.ok_or(ParseError::Missing("omitted or sent"))?;
        let streams = streams.iter().map(|stream| {
            let number = |key| {
                let number = stream.integer(key).ok_or(ParseError::Missing(key))?;
                Ok::<_, ParseError>(u64::try_from(number).unwrap_or(0))
            };
            Ok(StreamCount {
                id: u32::try_from(number("id")?).unwrap_or(0),
                bytes: number("bytes")?,
                blocks: number("blocks")?,
            })
        });
        let streams = streams.collect::<Result<_, ParseError>>()?;
        Ok(Self {
            stage,
            streams,
            finite: fields.truth("finite"),
        })
    }

    /// The message for the peer.
    pub fn to_json(&self) -> String {
        let streams = self.streams.iter().map(
            |stream| json!({ "id": stream.id, "bytes": stream.bytes, "blocks": stream.blocks }),
        );
        let streams: Value = streams.collect();
        let mut message = json!({ self.stage.key(): streams });
        if self.finite {
            message["finite"] = true.into();
        }
        message.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_they_were_written() {
        for (stage, finite) in [
            (Stage::Omitted, false),
            (Stage::Sent, false),
            (Stage::Sent, true),
        ] {
            let stream = |id| StreamCount {
                id,
                bytes: 655_360,
                blocks: 5,
            };
            let counts = Counts {
                stage,
                streams: vec![stream(1), stream(3)],
                finite,
            };
            assert_eq!(Counts::parse(counts.to_json().as_bytes()).unwrap(), counts);
        }
        for bad in [&b"{}"[..], b"{", br#"{"sent":[{"id":1,"bytes":2}]}"#] {
            Counts::parse(bad).unwrap_err();
        }
        let negative = br#"{"sent":[{"id":1,"bytes":-5,"blocks":-1}]}"#;
        assert_eq!(Counts::parse(negative).unwrap().streams[0].blocks, 0);
    }
}
