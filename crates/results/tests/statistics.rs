//! The statistics against values of scipy (`data/statistics/reference.py`), and what they promise: hardly a false alarm
//! between equal sides, and a real slowdown found.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use iperf_results::stats::{Arrangements, Summary, Verdict, decide, holm};
use serde_json::Value;

fn reference() -> Vec<Value> {
    serde_json::from_str(include_str!("data/statistics/reference.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

fn logarithms(value: &Value) -> Vec<f64> {
    numbers(value).iter().map(|number| number.ln()).collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn exact_tests_give_the_p_of_scipy() {
    let mut tested = 0;
    for case in reference() {
        let kind = case["kind"].as_str().unwrap();
        let test = match kind {
            "unpaired" => {
                Arrangements::unpaired(&logarithms(&case["base"]), &logarithms(&case["new"]))
            }
            "paired" => {
                let pairs = logarithms(&case["new"])
                    .into_iter()
                    .zip(logarithms(&case["base"]));
                Arrangements::paired(&pairs.map(|(new, base)| new - base).collect::<Vec<f64>>())
            }
            _ => continue,
        };
        let p = case["p"].as_f64().unwrap();
        assert!(test.exact());
        assert!(
            close(test.p(), p),
            "{kind} {case}: {} instead of {p}",
            test.p()
        );
        tested += 1;
    }
    assert_eq!(tested, 13);
}

#[test]
fn adjusted_p_and_descriptions_are_those_of_the_reference() {
    for case in reference() {
        match case["kind"].as_str().unwrap() {
            "holm" => {
                let adjusted = holm(&numbers(&case["p"]));
                let expected = numbers(&case["adjusted"]);
                assert!(
                    adjusted.iter().zip(&expected).all(|(a, b)| close(*a, *b)),
                    "{adjusted:?} {expected:?}"
                );
            }
            "describe" => {
                let summary = Summary::of(&numbers(&case["values"]));
                assert!(
                    close(summary.median, case["median"].as_f64().unwrap()),
                    "{summary:?}"
                );
                assert!(
                    close(summary.spread, case["variation"].as_f64().unwrap()),
                    "{summary:?}"
                );
            }
            _ => {}
        }
    }
}

/// Runs as a busy machine makes them: each the mean of ten intervals that depend on each other, with a heavy tail.
struct Machine {
    state: u64,
    /// The scale of the noise between runs and of that between intervals.
    noise: (f64, f64),
}

impl Machine {
    fn uniform(&mut self) -> f64 {
        // xorshift64*, which is not the generator of the tests.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (bits as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (radius, angle) = (
            (-2.0 * self.uniform().ln()).sqrt(),
            std::f64::consts::TAU * self.uniform(),
        );
        radius * angle.cos()
    }

    /// Student's t with three degrees of freedom.
    fn heavy(&mut self) -> f64 {
        let squares: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / (squares / 3.0).sqrt()
    }

    fn run(&mut self, level: f64) -> f64 {
        let (between, within) = self.noise;
        let shift = between * self.heavy();
        let mut interval = 0.0;
        let total: f64 = (0..10)
            .map(|_| {
                interval = 0.42 * interval + within * self.heavy();
                (shift + interval).clamp(-3.0, 3.0).exp()
            })
            .sum();
        level * total / 10.0
    }

    fn runs(&mut self, count: usize, level: f64) -> Vec<f64> {
        (0..count).map(|_| self.run(level)).collect()
    }
}

/// How many of `pairs` comparisons call new worse, when it is at `level` and base at 1.
fn called_worse(
    machine: &mut Machine,
    pairs: usize,
    runs: usize,
    paired: bool,
    level: f64,
) -> usize {
    let mut worse = 0;
    for _ in 0..pairs {
        let (base, new) = (machine.runs(runs, 1.0), machine.runs(runs, level));
        let decision = decide(&base, &new, paired, false);
        worse += usize::from(decision.verdict(true, 0.05, decision.p) == Verdict::Worse);
    }
    worse
}

#[test]
fn equal_sides_are_called_worse_in_at_most_two_of_a_hundred() {
    let mut machine = Machine {
        state: 2026,
        noise: (0.2, 0.3),
    };
    for (pairs, runs, paired) in [
        (2000, 5, false),
        (1000, 8, false),
        (500, 10, false),
        (2000, 8, true),
        (1000, 10, true),
    ] {
        let worse = called_worse(&mut machine, pairs, runs, paired, 1.0);
        assert!(
            worse * 100 <= pairs * 2,
            "{worse} of {pairs} with {runs} runs, paired {paired}"
        );
    }
}

#[test]
fn a_slowdown_of_20_percent_is_found_in_ten_quiet_runs() {
    let mut machine = Machine {
        state: 7,
        noise: (0.02, 0.1),
    };
    for paired in [false, true] {
        let worse = called_worse(&mut machine, 200, 10, paired, 0.8);
        assert!(worse >= 180, "{worse} of 200, paired {paired}");
    }
}
