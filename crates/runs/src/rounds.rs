//! The rounds of a bench, and the results of its runs.

use iperf_results::Record;
use iperf_results::compare::{Comparison, Side, differences};
use iperf_results::stats::Verdict;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::journal::{Journal, JournalError};
use crate::once::{Run, Runner};
use crate::plan::Plan;
use crate::running::Launcher;

/// A side that fails so often in a row is not run again.
const IN_A_ROW: usize = 2;

/// Hears of the progress.
pub trait Observer {
    /// A run begins: which side, its round (`None` for a warm-up), how many rounds there are, and how many runs of how
    /// many are done.
    fn begins(&mut self, name: &str, round: Option<u64>, rounds: u64, done: u64, of: u64);
    /// A run has ended.
    fn ended(&mut self, name: &str, run: &Run);
}

/// Why a bench has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All rounds are done.
    Complete,
    /// Every gated metric has a verdict.
    Decided,
    /// The user interrupted the bench.
    Interrupted(u8),
    /// Fewer sides than are needed still run.
    Failed,
}

/// Runs a plan.
pub struct Bench<'a> {
    /// What to run.
    pub plan: &'a Plan,
    /// How supervisors are started.
    pub launcher: &'a Launcher,
    /// Reports an interrupt by the user.
    pub interrupt: &'a Interrupt,
    /// Where runs are saved.
    pub journal: Option<Journal>,
    /// Hears of the progress.
    pub observer: &'a mut dyn Observer,
}

/// The runs of a bench.
#[derive(Debug, Clone)]
pub struct Rounds {
    /// All runs, in their order.
    pub runs: Vec<Run>,
    /// Which sides were dropped.
    pub dropped: Vec<bool>,
    in_a_row: Vec<usize>,
}

impl Bench<'_> {
    /// Runs all rounds that `finished`, the runs of an earlier bench, does not have.
    pub fn run(&mut self, finished: Vec<Run>) -> (Rounds, Result<Ended, JournalError>) {
        let mut rounds = Rounds::new(self.plan, finished);
        let ended = self.go(&mut rounds);
        (rounds, ended)
    }

    fn go(&mut self, rounds: &mut Rounds) -> Result<Ended, JournalError> {
        let (mut last, most) = (self.plan.rounds, self.plan.max_rounds);
        if !rounds.are_complete(self.plan, most.unwrap_or(last)) {
            for _ in 0..self.plan.warmup {
                if let Some(ended) = self.round(rounds, None, last)? {
                    return Ok(ended);
                }
            }
        }
        let mut round = 0;
        loop {
            while round < last {
                round += 1;
                if let Some(ended) = self.round(rounds, Some(round), last)? {
                    return Ok(ended);
                }
            }
            let Some(most) = most else {
                return Ok(Ended::Complete);
            };
            if rounds.are_decided(self.plan) {
                return Ok(Ended::Decided);
            }
            if last >= most {
                return Ok(Ended::Complete);
            }
            // Every look may be wrong by chance: a few looks, each at half as many runs more.
            last = (last + last.div_ceil(2)).min(most);
        }
    }

    /// One round; `Some` if it was the last.
    fn round(
        &mut self,
        rounds: &mut Rounds,
        number: Option<u64>,
        last: u64,
    ) -> Result<Option<Ended>, JournalError> {
        let sides = self.plan.sides.len() as u64;
        let of = last * sides;
        for (at, side) in self
            .plan
            .order_of(number.unwrap_or(1))
            .into_iter()
            .enumerate()
        {
            if let Some(signal) = self.interrupt.requested() {
                return Ok(Some(Ended::Interrupted(signal)));
            }
            if rounds.dropped[side] || number.is_some_and(|number| rounds.has(number, side)) {
                continue;
            }
            let done = number.map_or(0, |number| (number - 1) * sides + at as u64);
            let name = &self.plan.sides[side].name;
            self.observer.begins(name, number, last, done, of);
            let runner = Runner {
                plan: self.plan,
                launcher: self.launcher,
                interrupt: self.interrupt,
            };
            let Some(mut run) = runner.once(side, number.unwrap_or(0)) else {
                let signal = self.interrupt.requested().unwrap_or_default();
                return Ok(Some(Ended::Interrupted(signal)));
            };
            rounds.check(&mut run, self.plan);
            self.observer.ended(name, &run);
            if number.is_some()
                && let Some(journal) = &mut self.journal
            {
                journal.append(&run, self.plan)?;
            }
            rounds.add(run);
            if rounds.dropped.iter().all(|dropped| *dropped) {
                return Ok(Some(Ended::Failed));
            }
        }
        Ok(None)
    }
}

impl Rounds {
    fn new(plan: &Plan, runs: Vec<Run>) -> Self {
        Self {
            runs,
            dropped: vec![false; plan.sides.len()],
            in_a_row: vec![0; plan.sides.len()],
        }
    }

    fn has(&self, round: u64, side: usize) -> bool {
        self.runs
            .iter()
            .any(|run| run.round == round && run.side == side && run.result.is_ok())
    }

    fn are_complete(&self, plan: &Plan, rounds: u64) -> bool {
        (1..=rounds).all(|round| (0..plan.sides.len()).all(|side| self.has(round, side)))
    }

    /// Refuses a run with other parameters than the first run of its side.
    fn check(&self, run: &mut Run, plan: &Plan) {
        let first = self
            .runs
            .iter()
            .find(|earlier| earlier.side == run.side && earlier.result.is_ok());
        let (Some(Ok(first)), Ok(records)) = (first.map(|run| &run.result), &run.result) else {
            return;
        };
        if let Some(what) = changed(first, records, plan) {
            run.result = Err(Failure::new(what, run.out.as_bytes(), run.err.as_bytes()));
        }
    }

    fn add(&mut self, run: Run) {
        let side = run.side;
        self.in_a_row[side] = match run.result {
            Ok(_) => 0,
            Err(_) => self.in_a_row[side] + 1,
        };
        self.dropped[side] |= self.in_a_row[side] >= IN_A_ROW;
        self.runs.push(run);
    }

    /// The runs without a result.
    pub fn failures(&self) -> impl Iterator<Item = (&Run, &Failure)> {
        self.runs
            .iter()
            .filter_map(|run| run.result.as_ref().err().map(|failure| (run, failure)))
    }

    /// The records of a side, in the order of its runs.
    pub fn records(&self, side: usize) -> Vec<&Record> {
        self.runs
            .iter()
            .filter(|run| run.side == side && run.round > 0)
            .filter_map(|run| run.result.as_ref().ok())
            .flatten()
            .collect()
    }

    /// The records to compare: of the sides that were not dropped and have any, the rounds that all of them have.
    pub fn sides(&self, plan: &Plan) -> Vec<Side> {
        let measured = |side: usize| {
            !self.dropped[side]
                && self
                    .runs
                    .iter()
                    .any(|run| run.side == side && run.round > 0 && run.result.is_ok())
        };
        let sides: Vec<usize> = (0..plan.sides.len())
            .filter(|side| measured(*side))
            .collect();
        let whole = |round: u64| sides.iter().all(|side| self.has(round, *side));
        let records = |side: usize| {
            let mut runs: Vec<&Run> = self
                .runs
                .iter()
                .filter(|run| run.side == side && run.round > 0 && whole(run.round))
                .collect();
            runs.sort_by_key(|run| run.round);
            runs.iter()
                .filter_map(|run| run.result.as_ref().ok())
                .flatten()
                .cloned()
                .collect()
        };
        sides
            .iter()
            .map(|side| Side {
                name: plan.sides[*side].name.clone(),
                records: records(*side),
            })
            .filter(|side: &Side| !side.records.is_empty())
            .collect()
    }

    fn are_decided(&self, plan: &Plan) -> bool {
        let sides = self.sides(plan);
        if sides.len() < 2 {
            return false;
        }
        let comparison = Comparison::new(&sides, &plan.settings);
        let mut gated = comparison
            .tests
            .iter()
            .flat_map(|test| &test.metrics)
            .filter(|metric| metric.gated);
        gated.all(|metric| metric.verdict != Some(Verdict::Inconclusive))
    }
}

/// What of the parameters is not as in the first run.
fn changed(first: &[Record], records: &[Record], plan: &Plan) -> Option<String> {
    if first.len() != records.len() {
        return Some(format!(
            "printed {} results, and {} in its first run",
            records.len(),
            first.len()
        ));
    }
    let ignored = |name: &str| plan.settings.ignores(name);
    first.iter().zip(records).find_map(|(first, record)| {
        if first.tool != record.tool {
            return Some(format!(
                "printed a result of {}, and of {} in its first run",
                record.tool.name(),
                first.tool.name()
            ));
        }
        let differing = differences(first, record, ignored);
        let parts: Vec<String> = differing
            .iter()
            .map(|d| format!("{} is {}, and was {}", d.name, d.new, d.base))
            .collect();
        (!parts.is_empty()).then(|| format!("changed its parameters: {}", parts.join("; ")))
    })
}
