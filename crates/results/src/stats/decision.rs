//! From runs to a verdict: by interval and margin, with "inconclusive" as an answer.

use super::arrangements::Arrangements;
use super::describe::{deviation, median};

/// A change is called one if its p, adjusted, is below this.
pub const ALPHA: f64 = 0.01;
/// The confidence of intervals.
const CONFIDENCE: f64 = 0.95;
/// The largest number of runs that is suggested.
const MOST_RUNS: f64 = 1000.0;

/// How new compares with base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Better by more than the margin.
    Better,
    /// Worse by more than the margin.
    Worse,
    /// The whole interval is within the margin.
    Same,
    /// These runs cannot decide.
    Inconclusive,
}

/// A change and the interval around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// New over base minus 1, or new minus base where values can be 0.
    pub change: f64,
    /// The interval's lower bound, −1 or −∞ if there is none.
    pub low: f64,
    /// The interval's upper bound, ∞ if there is none.
    pub high: f64,
    /// Whether these are differences, not ratios.
    pub difference: bool,
}

/// The evidence of the runs for a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// The change.
    pub effect: Effect,
    /// The chance of such a difference between equal sides.
    pub p: f64,
    /// The smallest p that this many runs can reach.
    pub smallest_p: f64,
    /// Whether all arrangements were tried.
    pub exact: bool,
    /// Standard deviation of the scale on which the test works.
    deviation: f64,
    paired: bool,
}

/// Tests `new` against `base`; `paired` if the runs at the same place were interleaved. Neither may be empty. With
/// `difference` values are compared by difference, else on a logarithmic scale; then all must be positive.
pub fn decide(base: &[f64], new: &[f64], paired: bool, difference: bool) -> Decision {
    let scale = |values: &[f64]| -> Vec<f64> {
        values
            .iter()
            .map(|value| if difference { *value } else { value.ln() })
            .collect()
    };
    let (a, b) = (scale(base), scale(new));
    let (arrangements, middle, deviation) = if paired {
        let differences: Vec<f64> = b.iter().zip(&a).map(|(new, base)| new - base).collect();
        (
            Arrangements::paired(&differences),
            median(&differences),
            deviation(&differences),
        )
    } else {
        let pooled = f64::midpoint(deviation(&a).powi(2), deviation(&b).powi(2));
        (
            Arrangements::unpaired(&a, &b),
            median(&b) - median(&a),
            pooled.sqrt(),
        )
    };
    let (low, high) = arrangements.interval(CONFIDENCE);
    let out = |value: f64| if difference { value } else { value.exp_m1() };
    Decision {
        effect: Effect {
            change: out(middle),
            low: out(low),
            high: out(high),
            difference,
        },
        p: arrangements.p(),
        smallest_p: arrangements.smallest_p(),
        exact: arrangements.exact(),
        deviation,
        paired,
    }
}

impl Decision {
    /// The verdict for a metric of which more is better or not, at a margin and an adjusted p.
    pub fn verdict(&self, higher: bool, margin: f64, p: f64) -> Verdict {
        let Effect {
            change,
            low,
            high,
            difference,
        } = self.effect;
        // A ratio's margin reaches as far down as up: 1 / 1.05 is as far from 1 as 1.05.
        let down = if difference {
            -margin
        } else {
            1.0 / (1.0 + margin) - 1.0
        };
        let excludes = low > 0.0 || high < 0.0;
        if p < ALPHA && excludes && (change > margin || change < down) {
            return if (change > 0.0) == higher {
                Verdict::Better
            } else {
                Verdict::Worse
            };
        }
        if low >= down && high <= margin {
            Verdict::Same
        } else {
            Verdict::Inconclusive
        }
    }

    /// The runs a side that would likely decide: enough for the interval to fit in the margin around this change, or
    /// for this change to be seen, and enough for p to become small enough when `tests` metrics are tested.
    pub fn runs_to_decide(&self, margin: f64, tests: usize) -> Option<u64> {
        let (change, margin) = if self.effect.difference {
            (self.effect.change.abs(), margin)
        } else {
            (self.effect.change.ln_1p().abs(), margin.ln_1p())
        };
        let sides = if self.paired { 1.0 } else { 2.0 };
        // A power of 80 %: 0.84 standard errors beyond the level's quantile of the normal distribution.
        let needed = if change > margin {
            sides * ((2.576 + 0.84) * self.deviation / change).powi(2)
        } else {
            sides * ((1.96 + 0.84) * self.deviation / (margin - change)).powi(2)
        };
        let needed = needed.max(least_runs(self.paired, tests) as f64).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and 1000"
        )]
        (needed <= MOST_RUNS).then_some(needed as u64)
    }
}

/// The fewest runs a side with which a p below the level is possible when `tests` metrics are tested.
pub fn least_runs(paired: bool, tests: usize) -> u64 {
    let level = ALPHA / tests.max(1) as f64;
    let (mut n, mut arrangements) = (1_u64, 2.0_f64);
    while 2.0 / arrangements >= level && n < 100 {
        n += 1;
        // 2^n flips, or C(2n, n) = C(2n − 2, n − 1) · (4n − 2) / n permutations.
        arrangements *= if paired {
            2.0
        } else {
            (4 * n - 2) as f64 / n as f64
        };
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_change_is_called_by_its_direction() {
        let base = [10.0, 10.1, 9.9, 10.05, 9.95, 10.02];
        let new: Vec<f64> = base.iter().map(|value| value * 0.8).collect();
        let decision = decide(&base, &new, false, false);
        assert!((decision.effect.change + 0.2).abs() < 1e-9, "{decision:?}");
        assert_eq!(decision.verdict(true, 0.05, decision.p), Verdict::Worse);
        assert_eq!(decision.verdict(false, 0.05, decision.p), Verdict::Better);
        assert_eq!(decision.verdict(true, 0.30, decision.p), Verdict::Same);
    }

    #[test]
    fn one_run_a_side_is_inconclusive() {
        let decision = decide(&[10.0], &[5.0], false, false);
        assert_eq!(
            decision.verdict(true, 0.05, decision.p),
            Verdict::Inconclusive
        );
        assert!((decision.effect.change + 0.5).abs() < 1e-12);
        assert_eq!(
            (decision.effect.low, decision.effect.high),
            (-1.0, f64::INFINITY)
        );
        assert_eq!(decision.runs_to_decide(0.05, 1), Some(5));
    }

    #[test]
    fn the_fewest_runs_are_those_whose_smallest_p_is_below_the_level() {
        // 2 / C(10, 5) = 0.0079; 2 / 2^8 = 0.0078; with four metrics 2 / C(12, 6) = 0.0022, 2 / 2^10 = 0.0020.
        assert_eq!((least_runs(false, 1), least_runs(true, 1)), (5, 8));
        assert_eq!((least_runs(false, 4), least_runs(true, 4)), (6, 10));
    }

    #[test]
    fn pairs_see_through_a_drift_that_hides_the_change_otherwise() {
        let drift = [1.0, 1.4, 0.8, 1.9, 1.2, 0.7, 1.6, 1.1];
        let new: Vec<f64> = drift.iter().map(|value| value * 0.85).collect();
        let paired = decide(&drift, &new, true, false);
        assert_eq!(paired.verdict(true, 0.05, paired.p), Verdict::Worse);
        let unpaired = decide(&drift, &new, false, false);
        assert_eq!(
            unpaired.verdict(true, 0.05, unpaired.p),
            Verdict::Inconclusive
        );
    }

    #[test]
    fn counts_are_compared_by_difference() {
        let decision = decide(
            &[0.0, 0.0, 1.0, 0.0, 0.0],
            &[1.0, 0.0, 0.0, 0.0, 0.0],
            false,
            true,
        );
        assert!(
            decision.effect.change.abs() < 1e-12 && decision.p > 0.9,
            "{decision:?}"
        );
        assert_eq!(decision.verdict(false, 10.0, decision.p), Verdict::Same);
    }
}
