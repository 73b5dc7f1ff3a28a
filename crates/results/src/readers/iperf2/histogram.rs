//! iperf 2's histograms: `BB8(f)-PDF: bin(w=100us):cnt(20)=11:2,12:14,… (5.00/95.00/99.7%=…)`.

use crate::figures::{amount, leading};

/// Percentiles of a final histogram in seconds: the upper edges of their bins.
pub(super) fn percentiles(text: &str) -> Option<Vec<(&'static str, f64)>> {
    let (_, histogram) = text.split_once("(f)-PDF: bin(w=")?;
    let (width, unit) = leading(histogram)?;
    let scale = match unit.split(')').next()? {
        "us" => 1e-6,
        "ms" => 1e-3,
        _ => return None,
    };
    let (_, bins) = histogram.split_once("cnt(")?.1.split_once(")=")?;
    let mut counts = Vec::new();
    for bin in bins.split(' ').next()?.split(',') {
        let (number, count) = bin.split_once(':')?;
        counts.push((amount(number)?, amount(count)?));
    }
    let total: f64 = counts.iter().map(|(_, count)| count).sum();
    let edge = |percent: f64| {
        let mut below = 0.0;
        counts.iter().find_map(|(number, count)| {
            below += count;
            (below >= total * percent / 100.0).then_some(number * width * scale)
        })
    };
    let named = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0)];
    named
        .into_iter()
        .map(|(name, percent)| Some((name, edge(percent)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_upper_edge_of_its_bin() {
        let line = "sec BB8(f)-PDF: bin(w=100us):cnt(20)=1:16,2:1,15:1,24:1,52:1 (5.00/95.00/99.7%=1/52/52)";
        let close = |(name, seconds): (&'static str, f64)| (name, (seconds * 1e7).round() / 1e7);
        let read: Vec<_> = percentiles(line).unwrap().into_iter().map(close).collect();
        assert_eq!(read, [("p50", 0.0001), ("p90", 0.0015), ("p99", 0.0052)]);
        assert_eq!(percentiles("BB8-PDF: bin(w=100us):cnt(1)=1:1"), None);
    }
}
