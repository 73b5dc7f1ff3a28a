//! What the rounds of a case come to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cases::Case;
use crate::figure::{FIGURES, Figure, Goal};
use crate::run::Run;

/// Runs of the same round: ours and a peer's.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// By the program of this workspace.
    pub ours: Run,
    /// By the other.
    pub peer: Run,
}

impl Round {
    /// The rounds that both programs finished.
    pub fn both(ours: &BTreeMap<u64, Run>, peer: &BTreeMap<u64, Run>) -> Vec<Self> {
        let pair = |(number, ours): (&u64, &Run)| {
            let peer = *peer.get(number)?;
            Some(Self { ours: *ours, peer })
        };
        ours.iter().filter_map(pair).collect()
    }
}

/// One figure over all rounds of a case.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The case.
    pub case: Case,
    /// What is compared.
    pub figure: Figure,
    /// Our values, round by round.
    pub ours: Vec<f64>,
    /// The peer's values.
    pub peer: Vec<f64>,
    /// Each round's comparison: the ratio ours/peer, or the difference where [`Figure::is_difference`].
    pub compared: Vec<f64>,
}

impl Comparison {
    /// All figures of a case that its rounds have.
    pub fn all(case: &Case, rounds: &[Round]) -> Vec<Self> {
        let figures = FIGURES.iter().filter(|f| case.figures.contains(f));
        figures
            .map(|figure| Self::new(case, *figure, rounds))
            .filter(|comparison| !comparison.compared.is_empty())
            .collect()
    }

    fn new(case: &Case, figure: Figure, rounds: &[Round]) -> Self {
        let pairs = rounds
            .iter()
            .filter_map(|round| figure.of(&round.ours).zip(figure.of(&round.peer)));
        let (ours, peer): (Vec<f64>, Vec<f64>) = pairs.unzip();
        let both = ours.iter().zip(&peer);
        Self {
            case: *case,
            figure,
            compared: both.map(|(o, p)| figure.compare(*o, *p)).collect(),
            ours,
            peer,
        }
    }

    /// What is aimed at, and whether it is reached.
    pub fn goal(&self) -> Option<(Goal, bool)> {
        let goal = self.case.goal(self.figure)?;
        let met = goal.is_met(median(&self.compared), median(&self.ours));
        Some((goal, met))
    }

    /// All of it for a document.
    pub fn to_json(&self) -> Value {
        let (low, high) = spread(&self.compared);
        let name = if self.figure.is_difference() {
            "difference"
        } else {
            "ratio"
        };
        json!({
            "figure": self.figure.name(),
            "ours": self.ours,
            "peer": self.peer,
            name: { "median": median(&self.compared), "min": low, "max": high },
            "goal": self.goal().map(|(goal, _)| goal.text(self.figure)),
            "goal_met": self.goal().map(|(_, met)| met),
        })
    }
}

/// The value in the middle, or the mean of the two; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The smallest and the largest value.
pub fn spread(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_spread_has_both_ends() {
        assert_eq!(spread(&[2.0, 1.0, 5.0]), (1.0, 5.0));
    }
}
