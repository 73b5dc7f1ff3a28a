//! The arrangements of a permutation test, and what follows from them: p, and the interval of shifts that the test
//! would not reject.
//!
//! If `base` is shifted by δ, the difference D of the means becomes D − δ, and that of an arrangement s becomes
//! t − c·δ, where t is its difference in the data and c how much of the shift it keeps (−1 to 1). It is at least as
//! extreme as what was observed for every δ between (D − t) / (1 − c) and (D + t) / (1 + c), an interval around D. So
//! p(δ) is the share of arrangements whose interval holds δ, and the bounds of the 95 % interval are quantiles of the
//! ends: no search is needed.

use super::rng::Rng;

/// Up to this many arrangements, a test of two samples tries all.
pub const EXACT_ARRANGEMENTS: u64 = 20_000;
/// Up to this many pairs, a test by sign flips tries all.
pub const EXACT_PAIRS: usize = 12;
/// Otherwise this many are drawn.
pub const RESAMPLES: usize = 9_999;
/// The seed of the draw.
pub const SEED: u64 = 0x6970_6572_6633;

/// Differences that rounding alone makes unequal are equal.
const ROUNDING: f64 = 1e-9;

/// The arrangements of two samples or of pairs.
#[derive(Debug, Clone)]
pub struct Arrangements {
    /// D, the observed difference of the means.
    observed: f64,
    /// (t, c) of each arrangement, the observed one among them.
    arranged: Vec<(f64, f64)>,
    /// Whether these are all there are.
    exact: bool,
    /// How many of them are as extreme as the observed one, for any data.
    always: usize,
}

impl Arrangements {
    /// Two independent samples: which run is of which side is permuted. Neither may be empty.
    pub fn unpaired(base: &[f64], new: &[f64]) -> Self {
        let pooled: Vec<f64> = new.iter().chain(base).copied().collect();
        let sides = Sides {
            new: new.len(),
            all: pooled.len(),
            total: pooled.iter().sum(),
        };
        let exact =
            combinations(sides.all, sides.new).is_some_and(|count| count <= EXACT_ARRANGEMENTS);
        let mut arranged = Vec::new();
        if exact {
            each_combination(sides.all, sides.new, |chosen| {
                arranged.push(sides.arrange(&pooled, chosen));
            });
        } else {
            let mut rng = Rng::new(SEED);
            let mut order: Vec<usize> = (0..sides.all).collect();
            arranged.push(sides.arrange(&pooled, &order[..sides.new]));
            for _ in 0..RESAMPLES {
                for at in 0..sides.new {
                    order.swap(at, at + rng.below(sides.all - at));
                }
                arranged.push(sides.arrange(&pooled, &order[..sides.new]));
            }
        }
        let observed = mean(new) - mean(base);
        let always = if exact && 2 * sides.new == sides.all {
            2
        } else {
            1
        };
        Self {
            observed,
            arranged,
            exact,
            always,
        }
    }

    /// Pairs of interleaved runs, as differences of new and base: their signs are flipped. There must be one.
    pub fn paired(differences: &[f64]) -> Self {
        let count = differences.len();
        let exact = count <= EXACT_PAIRS;
        let arranged = if exact {
            (0..1_u64 << count)
                .map(|flips| flip(differences, |at| flips >> at & 1 == 1))
                .collect()
        } else {
            let mut rng = Rng::new(SEED);
            let mut word = 0;
            let mut draw = |at: usize| {
                if at.is_multiple_of(64) {
                    word = rng.next();
                }
                word >> (at % 64) & 1 == 1
            };
            let observed = flip(differences, |_| false);
            std::iter::once(observed)
                .chain((0..RESAMPLES).map(|_| flip(differences, &mut draw)))
                .collect()
        };
        Self {
            observed: mean(differences),
            arranged,
            exact,
            always: if exact { 2 } else { 1 },
        }
    }

    /// The observed difference of the means.
    pub fn observed(&self) -> f64 {
        self.observed
    }

    /// Whether all arrangements were tried.
    pub fn exact(&self) -> bool {
        self.exact
    }

    /// The two-sided p of no difference: the share of arrangements that differ at least as much as observed.
    pub fn p(&self) -> f64 {
        let limit = self.observed.abs() * (1.0 - ROUNDING);
        let extreme = self
            .arranged
            .iter()
            .filter(|(t, _)| t.abs() >= limit)
            .count();
        extreme as f64 / self.arranged.len() as f64
    }

    /// The smallest p that this many runs can reach.
    pub fn smallest_p(&self) -> f64 {
        self.always as f64 / self.arranged.len() as f64
    }

    /// The shifts that are not rejected at level `1 - confidence`. Unbounded if the runs are too few to reject any.
    pub fn interval(&self, confidence: f64) -> (f64, f64) {
        let d = self.observed;
        // An arrangement that keeps (or reverses) the whole shift is as extreme for any shift.
        let end = |numerator: f64, share: f64, unbounded: f64| {
            if share < ROUNDING {
                unbounded
            } else {
                numerator / share
            }
        };
        let mut low: Vec<f64> = Vec::with_capacity(self.arranged.len());
        let mut high: Vec<f64> = Vec::with_capacity(self.arranged.len());
        for &(t, c) in &self.arranged {
            let first = end(d - t, 1.0 - c, f64::NAN);
            let second = end(d + t, 1.0 + c, f64::NAN);
            if first.is_nan() || second.is_nan() {
                low.push(f64::NEG_INFINITY);
                high.push(f64::INFINITY);
            } else {
                low.push(first.min(second));
                high.push(first.max(second));
            }
        }
        let rejected = rejected(self.arranged.len(), confidence);
        let (_, &mut below, _) = low.select_nth_unstable_by(rejected, f64::total_cmp);
        let (_, &mut above, _) = high.select_nth_unstable_by(rejected, |a, b| b.total_cmp(a));
        (below.min(d), above.max(d))
    }
}

/// How many of `count` arrangements may hold a shift that is rejected.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count"
)]
fn rejected(count: usize, confidence: f64) -> usize {
    ((1.0 - confidence) * count as f64 * (1.0 + ROUNDING)).floor() as usize
}

/// How two samples are divided.
struct Sides {
    new: usize,
    all: usize,
    total: f64,
}

impl Sides {
    /// (t, c) when the runs `chosen` are taken for the new ones. The first runs are the new ones.
    fn arrange(&self, pooled: &[f64], chosen: &[usize]) -> (f64, f64) {
        let (new, base) = (self.new as f64, (self.all - self.new) as f64);
        let (mut sum, mut kept) = (0.0, 0.0);
        for &at in chosen {
            sum += pooled[at];
            kept += f64::from(u8::from(at < self.new));
        }
        let t = sum / new - (self.total - sum) / base;
        let c = kept / new - (new - kept) / base;
        (t, c)
    }
}

/// (t, c) with the signs of some differences flipped.
fn flip(differences: &[f64], mut flipped: impl FnMut(usize) -> bool) -> (f64, f64) {
    let (mut t, mut c) = (0.0, 0.0);
    for (at, difference) in differences.iter().enumerate() {
        let sign = if flipped(at) { -1.0 } else { 1.0 };
        t += sign * difference;
        c += sign;
    }
    (t / differences.len() as f64, c / differences.len() as f64)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The number of ways to choose `k` of `n`, or `None` if it passes what is ever tried.
fn combinations(n: usize, k: usize) -> Option<u64> {
    let mut count = 1_u64;
    for at in 0..k.min(n - k) as u64 {
        count = count * (n as u64 - at) / (at + 1);
        if count > EXACT_ARRANGEMENTS {
            return None;
        }
    }
    Some(count)
}

/// Calls `each` with every choice of `k` of `n`, in lexicographic order.
fn each_combination(n: usize, k: usize, mut each: impl FnMut(&[usize])) {
    let mut chosen: Vec<usize> = (0..k).collect();
    loop {
        each(&chosen);
        let Some(at) = (0..k).rev().find(|&at| chosen[at] < n - k + at) else {
            return;
        };
        chosen[at] += 1;
        for next in at + 1..k {
            chosen[next] = chosen[next - 1] + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_choices_are_tried_once() {
        let mut all = Vec::new();
        each_combination(5, 2, |chosen| all.push(chosen.to_vec()));
        assert_eq!(all.len(), 10);
        all.dedup();
        assert_eq!(all.len(), 10);
        assert_eq!(combinations(16, 8), Some(12_870));
        assert_eq!(combinations(20, 10), None);
    }

    #[test]
    fn few_runs_reject_nothing_and_their_interval_is_unbounded() {
        let test = Arrangements::unpaired(&[1.0, 1.1, 0.9], &[9.0, 9.1, 8.9]);
        assert!((test.p() - 0.1).abs() < 1e-12);
        assert!((test.smallest_p() - 0.1).abs() < 1e-12);
        assert_eq!(test.interval(0.95), (f64::NEG_INFINITY, f64::INFINITY));
    }

    #[test]
    fn the_interval_holds_the_shifts_that_the_test_does_not_reject() {
        let base = [4.1, 3.9, 4.4, 4.0, 3.7];
        let new = [5.0, 5.4, 4.9, 5.3, 5.6];
        let (low, high) = Arrangements::unpaired(&base, &new).interval(0.95);
        let p = |shift: f64| {
            let shifted: Vec<f64> = base.iter().map(|value| value + shift).collect();
            Arrangements::unpaired(&shifted, &new).p()
        };
        for (inside, outside) in [(low + 1e-3, low - 1e-3), (high - 1e-3, high + 1e-3)] {
            assert!(
                p(inside) > 0.05 && p(outside) <= 0.05,
                "{} {}",
                p(inside),
                p(outside)
            );
        }
    }

    #[test]
    fn the_interval_of_pairs_holds_the_shifts_that_flips_do_not_reject() {
        let differences = [0.3, 0.1, 0.5, 0.2, 0.4, 0.6, -0.1, 0.25];
        let (low, high) = Arrangements::paired(&differences).interval(0.95);
        let p = |shift: f64| {
            let shifted: Vec<f64> = differences.iter().map(|value| value - shift).collect();
            Arrangements::paired(&shifted).p()
        };
        for (inside, outside) in [(low + 1e-3, low - 1e-3), (high - 1e-3, high + 1e-3)] {
            assert!(
                p(inside) > 0.05 && p(outside) <= 0.05,
                "{} {}",
                p(inside),
                p(outside)
            );
        }
    }

    #[test]
    fn equal_runs_differ_by_nothing() {
        let test = Arrangements::unpaired(&[2.0; 5], &[2.0; 5]);
        assert!((test.p() - 1.0).abs() < 1e-12);
        assert_eq!(test.interval(0.95), (f64::NEG_INFINITY.max(0.0), 0.0));
    }

    #[test]
    fn a_draw_is_the_same_every_time_and_near_what_all_arrangements_give() {
        let base: Vec<f64> = (0..10).map(|at| f64::from(at) * 0.1).collect();
        let new: Vec<f64> = base.iter().map(|value| value + 0.35).collect();
        let (first, second) = (
            Arrangements::unpaired(&base, &new),
            Arrangements::unpaired(&base, &new),
        );
        assert!(!first.exact());
        assert_eq!(first.p().to_bits(), second.p().to_bits());
    }
}
