//! What is to be run: sides, rounds, and the order within a round.

use std::time::Duration;

use iperf_results::ReadOptions;
use iperf_results::compare::Settings;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};

use crate::ready::Ready;

/// All that a bench does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The sides, the base first.
    pub sides: Vec<SidePlan>,
    /// Rounds; each runs every side once.
    pub rounds: u64,
    /// Warm-up rounds: their results are not used.
    pub warmup: u64,
    /// Which side goes first.
    pub order: Order,
    /// What a random order depends on.
    pub seed: u64,
    /// How long a command may take.
    pub timeout: Duration,
    /// Runs before each run, before its server.
    pub prepare: Option<String>,
    /// Runs after each run, also after one that failed.
    pub cleanup: Option<String>,
    /// Rounds are added up to these many until the comparison is decided.
    pub max_rounds: Option<u64>,
    /// How sides are compared.
    pub settings: Settings,
    /// How outputs are read.
    pub read: ReadOptions,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidePlan {
    /// What reports call it.
    pub name: String,
    /// The command that is measured.
    pub command: String,
    /// Its server and the sign that it is ready.
    pub server: Option<(String, Ready)>,
}

/// Which side goes first in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Forth and back: A B, B A, A B…
    Abba,
    /// Shuffled in each round.
    Random,
}

impl Plan {
    /// The sides in the order of a round, counted from 1. It depends on nothing else, so that a resumed bench
    /// continues in the same order.
    pub fn order_of(&self, round: u64) -> Vec<usize> {
        let mut sides: Vec<usize> = (0..self.sides.len()).collect();
        match self.order {
            Order::Abba if round.is_multiple_of(2) => sides.reverse(),
            Order::Abba => {}
            Order::Random => {
                let seed = self.seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                sides.shuffle(&mut SmallRng::seed_from_u64(seed));
            }
        }
        sides
    }

    /// The seconds that the commands take in one round, by `-t` or by the default of iperf's programs; `None` if a
    /// command does not show it.
    pub fn seconds_of_round(&self) -> Option<f64> {
        self.sides.iter().map(|side| seconds(&side.command)).sum()
    }
}

/// The seconds in a command line.
fn seconds(command: &str) -> Option<f64> {
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    let given = words.iter().enumerate().find_map(|(at, word)| {
        let value = match *word {
            "-t" | "--time" => words.get(at + 1).copied()?,
            _ => word
                .strip_prefix("--time=")
                .or_else(|| word.strip_prefix("-t"))?,
        };
        value.parse::<f64>().ok().filter(|seconds| *seconds > 0.0)
    });
    let iperf = words.iter().any(|word| {
        let name = word.rsplit('/').next().unwrap_or(word);
        name == "iperf" || name == "iperf3"
    });
    let by_amount = words.iter().any(|word| {
        word.starts_with("-n")
            || word.starts_with("-k")
            || word.starts_with("--bytes")
            || word.starts_with("--blockcount")
    });
    given.or((iperf && !by_amount).then_some(10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(order: Order, sides: usize) -> Plan {
        let side = |n: usize| SidePlan {
            name: n.to_string(),
            command: "true".into(),
            server: None,
        };
        Plan {
            sides: (0..sides).map(side).collect(),
            rounds: 4,
            warmup: 0,
            order,
            seed: 7,
            timeout: Duration::from_secs(1),
            prepare: None,
            cleanup: None,
            max_rounds: None,
            settings: Settings::default(),
            read: ReadOptions::default(),
        }
    }

    #[test]
    fn abba_alternates_which_side_goes_first() {
        let plan = plan(Order::Abba, 3);
        let orders: Vec<_> = (1..=3).map(|round| plan.order_of(round)).collect();
        assert_eq!(orders, [[0, 1, 2], [2, 1, 0], [0, 1, 2]]);
    }

    #[test]
    fn a_random_order_is_the_same_for_the_same_seed_and_has_every_side_once() {
        let mut other = plan(Order::Random, 4);
        other.seed = 8;
        let plan = plan(Order::Random, 4);
        let orders = |plan: &Plan| -> Vec<Vec<usize>> {
            (1..=20).map(|round| plan.order_of(round)).collect()
        };
        assert_eq!(orders(&plan), orders(&plan));
        assert_ne!(orders(&plan), orders(&other));
        for mut order in orders(&plan) {
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn the_duration_is_what_the_command_asks_for() {
        for (command, expected) in [
            ("iperf3 -c h -t 3", Some(3.0)),
            ("/usr/bin/iperf3 -c h -t3", Some(3.0)),
            ("iperf --loopback --time=2", Some(2.0)),
            ("iperf3 -c h", Some(10.0)),
            ("iperf3 -c h -n 50M", None),
            ("uperf -m profile.xml", None),
        ] {
            assert_eq!(seconds(command), expected, "{command}");
        }
    }
}
