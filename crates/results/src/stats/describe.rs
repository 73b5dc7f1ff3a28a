//! What one side's runs look like.

/// The figures of a side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Runs.
    pub n: usize,
    /// Their median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The standard deviation over the mean; 0 of one run or around 0.
    pub spread: f64,
}

impl Summary {
    /// Describes `values`; there must be one.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let spread = if mean.abs() > 0.0 {
            deviation(values) / mean.abs()
        } else {
            0.0
        };
        let (min, max) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), &v| {
                (v.min(min), v.max(max))
            });
        Self {
            n,
            median: median(values),
            min,
            max,
            spread,
        }
    }
}

/// The median; there must be a value.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    crate::figures::quantile(&sorted, 0.5)
}

/// The sample's standard deviation; 0 of one value.
pub(super) fn deviation(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 2 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (n - 1) as f64).sqrt()
}

/// The indices of values whose modified Z (Iglewicz and Hoaglin 1993) passes 3.5. Outliers are named, never dropped.
pub fn outliers(values: &[f64]) -> Vec<usize> {
    if values.len() < 4 {
        return Vec::new();
    }
    let middle = median(values);
    let deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    let scale = median(&deviations);
    let z = |deviation: f64| 0.6745 * deviation / scale;
    (0..values.len())
        .filter(|&at| scale > 0.0 && z(deviations[at]) > 3.5)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_described_by_its_median_and_spread() {
        let summary = Summary::of(&[1.0, 2.0, 4.0, 3.0]);
        assert_eq!(
            (summary.n, summary.median, summary.min, summary.max),
            (4, 2.5, 1.0, 4.0)
        );
        assert!((summary.spread - 1.290_994_448_735_805_6 / 2.5).abs() < 1e-12);
        assert!(Summary::of(&[7.0]).spread.abs() < 1e-12);
    }

    #[test]
    fn one_run_far_from_the_others_is_named() {
        assert_eq!(outliers(&[10.0, 10.1, 9.9, 10.0, 3.0]), [4]);
        assert_eq!(outliers(&[10.0, 10.1, 9.9, 10.0, 10.2]), [] as [usize; 0]);
        assert_eq!(outliers(&[1.0, 1.0, 1.0, 9.0]), [] as [usize; 0]);
    }
}
