//! A distribution of latencies in nanoseconds, as an HdrHistogram that other programs can read.

use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer, V2Serializer};

/// Latencies in nanoseconds, up to a minute, with three significant digits.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies(Histogram<u64>);

/// A percentile needs this many values above it.
const SAMPLES_ABOVE: f64 = 10.0;

/// The longest histogram that is read, before and after decompression.
const MAX_ENCODED: usize = 1 << 20;

/// Cookies of V2, bare and compressed, without the bits for the encoding of counts.
const V2: [u8; 4] = [0x1c, 0x84, 0x93, 0x13];
const V2_COMPRESSED: [u8; 4] = [0x1c, 0x84, 0x93, 0x14];

impl Latencies {
    /// The largest value; longer times count as this.
    pub const HIGHEST: u64 = 60_000_000_000;
    /// Significant decimal digits.
    pub const DIGITS: u8 = 3;

    /// None yet.
    #[expect(
        clippy::missing_panics_doc,
        reason = "the bounds are constants that are valid"
    )]
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, Self::HIGHEST, Self::DIGITS).expect("valid bounds"))
    }

    /// Adds `nanos` `count` times.
    pub fn record(&mut self, nanos: u64, count: u64) {
        self.0
            .saturating_record_n(nanos.clamp(1, Self::HIGHEST), count);
    }

    /// Adds all values of another distribution.
    pub fn add(&mut self, other: &Self) {
        // All have the same bounds, so nothing can be out of them.
        let _ = self.0.add(&other.0);
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The smallest value.
    pub fn min(&self) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_nanos(self.0.min()))
    }

    /// The largest value.
    pub fn max(&self) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_nanos(self.0.max()))
    }

    /// The mean in nanoseconds.
    pub fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.mean())
    }

    /// The standard deviation in nanoseconds.
    pub fn stddev(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.stdev())
    }

    /// The value that `percent` of all values do not exceed; `None` if fewer than ten values are above it.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let above = (100.0 - percent) / 100.0 * self.count() as f64;
        // Half a sample is what a rounded percent can make wrong.
        (above + 1e-6 >= SAMPLES_ABOVE)
            .then(|| Duration::from_nanos(self.0.value_at_percentile(percent)))
    }

    /// The histogram of the crate.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// HdrHistogram's compressed format, version 2, in base64.
    #[expect(clippy::missing_panics_doc, reason = "writing to memory does not fail")]
    pub fn to_base64(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .expect("a histogram within its bounds");
        STANDARD.encode(bytes)
    }

    /// Reads that format from an untrusted peer: memory and time are bounded. `None` for anything but a histogram with the
    /// bounds of this type.
    pub fn from_base64(text: &str) -> Option<Self> {
        if text.len() > MAX_ENCODED {
            return None;
        }
        let bytes = STANDARD.decode(text.trim()).ok()?;
        let compressed = bytes.strip_prefix(&V2_COMPRESSED)?.get(4..)?;
        let mut plain = Vec::new();
        let limit = MAX_ENCODED as u64 + 1;
        ZlibDecoder::new(compressed)
            .take(limit)
            .read_to_end(&mut plain)
            .ok()?;
        // The header decides how much memory is taken.
        if plain.len() > MAX_ENCODED || plain.get(..HEADER)? != Self::header(&plain)? {
            return None;
        }
        let read: Histogram<u64> = Deserializer::new()
            .deserialize(&mut plain.as_slice())
            .ok()?;
        let mut latencies = Self::new();
        latencies.0.add(&read).ok()?;
        Some(latencies)
    }

    /// The header that this type writes, with the length of `plain`.
    fn header(plain: &[u8]) -> Option<Vec<u8>> {
        let mut own = Vec::new();
        let serialized = V2Serializer::new().serialize(&Self::new().0, &mut own);
        serialized.ok()?;
        debug_assert_eq!(own.get(..4), Some(&V2[..]));
        let length = u32::try_from(plain.len().checked_sub(HEADER)?).ok()?;
        own.get_mut(4..8)?.copy_from_slice(&length.to_be_bytes());
        own.truncate(HEADER);
        Some(own)
    }
}

/// Bytes of the header of version 2: cookie, length, offset, digits, lowest, highest, ratio.
const HEADER: usize = 40;

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thousand() -> Latencies {
        let mut latencies = Latencies::new();
        for micros in 1..=1000 {
            latencies.record(micros * 1000, 1);
        }
        latencies
    }

    #[test]
    fn a_percentile_needs_ten_values_above_it() {
        let latencies = thousand();
        let p99 = latencies.percentile(99.0).unwrap().as_micros();
        assert!((989..=991).contains(&p99), "{p99}");
        assert_eq!(latencies.percentile(99.9), None);
        assert_eq!(Latencies::new().percentile(50.0), None);
        assert_eq!(Latencies::new().max(), None);
    }

    #[test]
    fn a_distribution_is_read_as_it_was_written() {
        let latencies = thousand();
        let read = Latencies::from_base64(&latencies.to_base64()).unwrap();
        assert_eq!(read, latencies);
        let mut twice = read.clone();
        twice.add(&latencies);
        assert_eq!((twice.count(), twice.max()), (2000, latencies.max()));
    }

    #[test]
    fn nothing_else_is_read() {
        let other = |high, digits| {
            let mut bytes = Vec::new();
            let histogram = Histogram::<u64>::new_with_bounds(1, high, digits).unwrap();
            V2DeflateSerializer::new()
                .serialize(&histogram, &mut bytes)
                .unwrap();
            STANDARD.encode(bytes)
        };
        assert!(Latencies::from_base64(&other(Latencies::HIGHEST, 3)).is_some());
        for bad in [
            other(u64::MAX >> 1, 5),
            other(Latencies::HIGHEST, 2),
            String::new(),
            "AAAA".to_owned(),
            "HISTFAAAAA==".to_owned(),
        ] {
            assert_eq!(Latencies::from_base64(&bad), None, "{bad}");
        }
    }

    #[test]
    fn times_beyond_a_minute_count_as_one() {
        let mut latencies = Latencies::new();
        latencies.record(u64::MAX, 1);
        latencies.record(0, 1);
        assert_eq!(latencies.count(), 2);
        assert!(latencies.max().unwrap() >= Duration::from_secs(60));
    }
}
