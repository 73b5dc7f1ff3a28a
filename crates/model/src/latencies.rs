//! A distribution of latencies in nanoseconds, as an HdrHistogram that other programs can read.
//!
//! Only the counters that are not 0 are kept: a histogram with all of them takes 229 kB, a thousand streams have one each in
//! every interval, and each of their latencies is in a few.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer, V2Serializer};

/// Latencies in nanoseconds, up to a minute, with three significant digits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    /// What was counted, by the smallest value of each counter.
    counters: BTreeMap<u64, u64>,
    count: u64,
}

/// The values of a counter, which an HdrHistogram does not tell apart.
#[derive(Clone, Copy)]
struct Counter {
    least: u64,
    range: u64,
}

impl Counter {
    /// Below 2048 each value has a counter of its own; each power of two above it has 1024.
    fn of(nanos: u64) -> Self {
        let bits = u64::BITS - nanos.leading_zeros();
        let shift = bits.saturating_sub(11);
        Self {
            least: nanos >> shift << shift,
            range: 1 << shift,
        }
    }

    fn largest(self) -> u64 {
        self.least + (self.range - 1)
    }

    /// The value that stands for all of them.
    fn middle(self) -> f64 {
        (self.least + self.range / 2) as f64
    }
}

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
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `nanos` `count` times.
    pub fn record(&mut self, nanos: u64, count: u64) {
        self.insert(nanos.clamp(1, Self::HIGHEST), count);
    }

    fn insert(&mut self, nanos: u64, count: u64) {
        if count > 0 {
            let counter = self.counters.entry(Counter::of(nanos).least).or_default();
            *counter = counter.saturating_add(count);
            self.count = self.count.saturating_add(count);
        }
    }

    /// Adds all values of another distribution.
    pub fn add(&mut self, other: &Self) {
        for (nanos, count) in &other.counters {
            self.insert(*nanos, *count);
        }
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest value.
    pub fn min(&self) -> Option<Duration> {
        let (least, _) = self.counters.first_key_value()?;
        Some(Duration::from_nanos(*least))
    }

    /// The largest value.
    pub fn max(&self) -> Option<Duration> {
        let (least, _) = self.counters.last_key_value()?;
        Some(Duration::from_nanos(Counter::of(*least).largest()))
    }

    /// The mean in nanoseconds.
    pub fn mean(&self) -> Option<f64> {
        self.mean_of(|nanos| nanos)
    }

    /// The standard deviation in nanoseconds.
    pub fn stddev(&self) -> Option<f64> {
        let mean = self.mean()?;
        self.mean_of(|nanos| (nanos - mean).powi(2)).map(f64::sqrt)
    }

    fn mean_of(&self, figure: impl Fn(f64) -> f64) -> Option<f64> {
        let counters = self.counters.iter();
        let parts =
            counters.map(|(least, count)| figure(Counter::of(*least).middle()) * *count as f64);
        (self.count > 0).then(|| parts.sum::<f64>() / self.count as f64)
    }

    /// The value that `percent` of all values do not exceed; `None` if fewer than ten values are above it.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let above = (100.0 - percent) / 100.0 * self.count as f64;
        // Half a sample is what a rounded percent can make wrong.
        if above + 1e-6 < SAMPLES_ABOVE {
            return None;
        }
        let wanted = (percent / 100.0 * self.count as f64).ceil().max(1.0);
        let mut seen = 0_u64;
        let mut counters = self.counters.iter();
        let (least, _) = counters.find(|(_, count)| {
            seen = seen.saturating_add(**count);
            seen as f64 >= wanted
        })?;
        Some(Duration::from_nanos(Counter::of(*least).largest()))
    }

    /// The histogram of the crate, with all counters.
    #[expect(
        clippy::missing_panics_doc,
        reason = "the bounds are constants that are valid"
    )]
    pub fn histogram(&self) -> Histogram<u64> {
        let mut histogram =
            Histogram::new_with_bounds(1, Self::HIGHEST, Self::DIGITS).expect("valid bounds");
        for (nanos, count) in &self.counters {
            histogram.saturating_record_n(*nanos, *count);
        }
        histogram
    }

    /// HdrHistogram's compressed format, version 2, in base64.
    #[expect(clippy::missing_panics_doc, reason = "writing to memory does not fail")]
    pub fn to_base64(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.histogram(), &mut bytes)
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
        for step in read.iter_recorded() {
            latencies.insert(step.value_iterated_to(), step.count_at_value());
        }
        Some(latencies)
    }

    /// The header that this type writes, with the length of `plain`.
    fn header(plain: &[u8]) -> Option<Vec<u8>> {
        let mut own = Vec::new();
        let serialized = V2Serializer::new().serialize(&Self::new().histogram(), &mut own);
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

    /// Values of every size, some of them often.
    #[test]
    fn figures_are_those_of_the_histogram_with_all_counters() {
        let mut latencies = Latencies::new();
        let mut seed = 1_u64;
        for round in 0..5000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let nanos = (seed >> 24) >> (seed % 40);
            latencies.record(nanos, 1 + round % 3);
        }
        let all = latencies.histogram();
        let nanos = |time: Option<Duration>| time.map(|t| u64::try_from(t.as_nanos()).unwrap());
        assert_eq!(latencies.count(), all.len());
        assert_eq!(nanos(latencies.min()), Some(all.min()));
        assert_eq!(nanos(latencies.max()), Some(all.max()));
        for percent in [0.1, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.8] {
            let value = Some(all.value_at_percentile(percent));
            assert_eq!(nanos(latencies.percentile(percent)), value, "{percent}");
        }
        for (figure, value) in [
            (latencies.mean(), all.mean()),
            (latencies.stddev(), all.stdev()),
        ] {
            assert!(
                (figure.unwrap() / value - 1.0).abs() < 1e-9,
                "{figure:?}, {value}"
            );
        }
        for (step, least) in all.iter_recorded().zip(latencies.counters.keys()) {
            assert_eq!(all.lowest_equivalent(step.value_iterated_to()), *least);
        }
    }

    /// A thousand streams have one each in every interval.
    #[test]
    fn a_distribution_takes_no_more_than_it_has() {
        assert_eq!(thousand().counters.len(), 1000);
        let mut same = Latencies::new();
        (0..1000).for_each(|_| same.record(20_000, 1));
        assert_eq!((same.counters.len(), same.count()), (1, 1000));
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
