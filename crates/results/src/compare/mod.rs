//! Comparing runs: whether new is better or worse, the same, or inconclusive, for each metric.
//!
//! ```text
//! records of base and new ──► groups with equal parameters ──► metrics ──► stats::decide ──► Holm ──► verdicts
//! ```

mod comparable;
mod quantity;
mod settings;

pub use comparable::{Difference, differences, groups};
pub use settings::{Margin, Relation, Requirement, Settings, Size};

use crate::format::value::push;
use crate::metric::{Better, Unit, definition};
use crate::record::Record;
use crate::stats::{self, Decision, Summary, Verdict};

/// The records of one side and its name.
#[derive(Debug, Clone)]
pub struct Side {
    /// What reports call it.
    pub name: String,
    /// Its runs.
    pub records: Vec<Record>,
}

/// A comparison of sides with the first of them.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// Each test of each side, with the base's.
    pub tests: Vec<Test>,
    /// The requirements and what the sides reached.
    pub requirements: Vec<Checked>,
    /// What could not be compared, and why.
    pub incomparable: Vec<String>,
    /// What else than the programs may explain a change.
    pub warnings: Vec<String>,
}

/// Runs with the same parameters of two sides.
#[derive(Debug, Clone)]
pub struct Test {
    /// What was tested, in a few words.
    pub name: String,
    /// The name of the base's side.
    pub base: String,
    /// The name of the other side.
    pub new: String,
    /// Whether runs were compared pair by pair.
    pub paired: bool,
    /// The metrics that both have.
    pub metrics: Vec<Compared>,
    /// What limits the figures.
    pub notes: Vec<String>,
}

/// A metric of two sides.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// The runs of the base.
    pub base: Summary,
    /// The runs of the other side.
    pub new: Summary,
    /// The result of the test.
    pub decision: Decision,
    /// p, adjusted for the number of gated metrics.
    pub adjusted_p: f64,
    /// The margin, as a share or, of differences, in the metric's unit.
    pub margin: f64,
    /// Whether a worse verdict fails the comparison.
    pub gated: bool,
    /// The verdict; `None` for figures of which neither more nor less is better.
    pub verdict: Option<Verdict>,
    /// If it is inconclusive: the runs a side that would likely decide, `None` for more than 1000.
    pub runs: Option<u64>,
    /// Runs far from the others, of both sides.
    pub outliers: usize,
}

impl Compared {
    /// The metric's unit.
    pub fn unit(&self) -> Unit {
        Unit::of(&self.name)
    }

    /// Which way the metric is better.
    pub fn better(&self) -> Better {
        Better::of(&self.name)
    }
}

/// A requirement and whether it is met.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The requirement.
    pub requirement: Requirement,
    /// The test.
    pub test: String,
    /// The side.
    pub side: String,
    /// The median; `None` if it was not measured.
    pub value: Option<f64>,
    /// Whether it is met.
    pub met: bool,
}

/// The result of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing gated is worse, and every requirement is met.
    Passed,
    /// Something gated is worse, or a requirement is missed.
    Failed,
    /// Nothing is known to be worse, but of something gated it is not known.
    Inconclusive,
    /// Runs that cannot be compared.
    NotComparable,
}

impl Comparison {
    /// Compares every other side with the first.
    pub fn new(sides: &[Side], settings: &Settings) -> Self {
        let mut comparison = Self::default();
        let Some((base, others)) = sides.split_first() else {
            return comparison;
        };
        for new in others {
            comparison.side(base, new, settings);
        }
        comparison.adjust();
        comparison
    }

    /// The result.
    pub fn outcome(&self) -> Outcome {
        let gated = || {
            self.tests
                .iter()
                .flat_map(|test| &test.metrics)
                .filter(|metric| metric.gated)
        };
        let is = |verdict| gated().any(|metric| metric.verdict == Some(verdict));
        if is(Verdict::Worse) || self.requirements.iter().any(|checked| !checked.met) {
            Outcome::Failed
        } else if !self.incomparable.is_empty() {
            Outcome::NotComparable
        } else if is(Verdict::Inconclusive) {
            Outcome::Inconclusive
        } else {
            Outcome::Passed
        }
    }

    fn side(&mut self, base: &Side, new: &Side, settings: &Settings) {
        let ignored = |name: &str| settings.ignores(name);
        let before = groups(&base.records, &ignored);
        let after = groups(&new.records, &ignored);
        let one_each = before.len() == 1 && after.len() == 1;
        let mut matched = vec![false; before.len()];
        for group in &after {
            let differ = |other: &Vec<&Record>| differences(other[0], group[0], ignored);
            let partner = before.iter().position(|other| differ(other).is_empty());
            self.require(new, group, settings);
            let Some(at) = partner else {
                let reason = if one_each {
                    because(&differ(&before[0]))
                } else {
                    "the base has no such test".into()
                };
                self.incomparable
                    .push(format!("{} ({}): {reason}", new.name, describe(group[0])));
                continue;
            };
            matched[at] = true;
            self.test(base, &before[at], new, group, settings);
        }
        for (group, _) in before
            .iter()
            .zip(&matched)
            .filter(|(_, matched)| !**matched && !one_each)
        {
            self.incomparable.push(format!(
                "{} ({}): {} has no such test",
                base.name,
                describe(group[0]),
                new.name
            ));
        }
    }

    fn require(&mut self, side: &Side, group: &[&Record], settings: &Settings) {
        for requirement in &settings.requirements {
            let values: Vec<f64> = group
                .iter()
                .filter_map(|record| record.get(&requirement.metric))
                .collect();
            let value = (!values.is_empty()).then(|| stats::median(&values));
            self.requirements.push(Checked {
                requirement: requirement.clone(),
                test: describe(group[0]),
                side: side.name.clone(),
                value,
                met: value
                    .is_some_and(|value| requirement.relation.holds(value, requirement.value)),
            });
        }
    }

    fn test(
        &mut self,
        base: &Side,
        before: &[&Record],
        new: &Side,
        after: &[&Record],
        settings: &Settings,
    ) {
        let (before, after, paired) = pairs(before, after);
        let mut notes: Vec<String> = Vec::new();
        for note in before.iter().chain(&after).flat_map(|record| &record.notes) {
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        let metrics: Vec<Compared> = before[0]
            .metrics
            .iter()
            .filter_map(|metric| compared(&metric.name, &before, &after, paired, settings))
            .collect();
        if metrics
            .iter()
            .all(|metric| metric.better() == Better::Neither)
        {
            let reason = "no metric in common of which more or less is better";
            self.incomparable.push(format!(
                "{} and {} ({}): {reason}",
                base.name,
                new.name,
                describe(after[0])
            ));
        }
        for warning in comparable::environments(&before, &after) {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        let (base, new) = (base.name.clone(), new.name.clone());
        self.tests.push(Test {
            name: describe(after[0]),
            base,
            new,
            paired,
            metrics,
            notes,
        });
    }

    /// Adjusts every p for the number of gated metrics, and gives the verdicts.
    fn adjust(&mut self) {
        let mut all: Vec<&mut Compared> = self
            .tests
            .iter_mut()
            .flat_map(|test| &mut test.metrics)
            .collect();
        let p: Vec<f64> = all
            .iter_mut()
            .filter(|metric| metric.gated)
            .map(|metric| metric.decision.p)
            .collect();
        for (metric, p) in all
            .iter_mut()
            .filter(|metric| metric.gated)
            .zip(stats::holm(&p))
        {
            metric.adjusted_p = p;
        }
        let tests = p.len().max(1);
        for metric in all {
            let higher = match metric.better() {
                Better::Higher => true,
                Better::Lower => false,
                Better::Neither => continue,
            };
            let verdict = metric
                .decision
                .verdict(higher, metric.margin, metric.adjusted_p);
            metric.verdict = Some(verdict);
            if verdict == Verdict::Inconclusive {
                metric.runs = metric
                    .decision
                    .runs_to_decide(metric.margin, if metric.gated { tests } else { 1 });
            }
        }
    }
}

/// The runs of two sides by the number of their pair, if all have one and the numbers are the same.
fn pairs<'a>(
    before: &[&'a Record],
    after: &[&'a Record],
) -> (Vec<&'a Record>, Vec<&'a Record>, bool) {
    let by_pair = |side: &[&'a Record]| {
        let mut side = side.to_vec();
        side.sort_by_key(|record| record.pair);
        side
    };
    let (left, right) = (by_pair(before), by_pair(after));
    let numbers = |side: &[&Record]| {
        side.iter()
            .map(|record| record.pair)
            .collect::<Option<Vec<u64>>>()
    };
    let paired = numbers(&left).is_some_and(|left| {
        left.windows(2).all(|two| two[0] < two[1])
            && numbers(&right).is_some_and(|right| left == right)
    });
    if paired {
        (left, right, true)
    } else {
        (before.to_vec(), after.to_vec(), false)
    }
}

fn compared(
    name: &str,
    before: &[&Record],
    after: &[&Record],
    paired: bool,
    settings: &Settings,
) -> Option<Compared> {
    let values = |side: &[&Record]| {
        side.iter()
            .map(|record| record.get(name))
            .collect::<Option<Vec<f64>>>()
    };
    // A metric that some runs lack is compared by the runs that have it, but no longer in pairs.
    let some = |side: &[&Record]| {
        side.iter()
            .filter_map(|record| record.get(name))
            .collect::<Vec<f64>>()
    };
    let whole = values(before).zip(values(after));
    let (base, new, paired) = match whole {
        Some((base, new)) => (base, new, paired),
        None => (some(before), some(after), false),
    };
    if base.is_empty() || new.is_empty() {
        return None;
    }
    let (unit, better) = definition(name)?;
    let positive = base.iter().chain(&new).all(|value| *value > 0.0);
    let difference = !positive || matches!(unit, Unit::Count | Unit::Ratio);
    let decision = stats::decide(&base, &new, paired, difference);
    let (base_summary, new_summary) = (Summary::of(&base), Summary::of(&new));
    let size = base_summary.median.abs();
    let margin = match (settings.margin(name), difference) {
        (Size::Share(share), false) => share,
        (Size::Share(share), true) => share * size,
        (Size::Absolute(absolute), true) => absolute,
        (Size::Absolute(absolute), false) => absolute / size,
    };
    Some(Compared {
        name: name.to_owned(),
        base: base_summary,
        new: new_summary,
        adjusted_p: decision.p,
        decision,
        margin,
        gated: better != Better::Neither && settings.gates(name),
        verdict: None,
        runs: None,
        outliers: stats::outliers(&base).len() + stats::outliers(&new).len(),
    })
}

fn because(differences: &[Difference]) -> String {
    let parts: Vec<String> = differences
        .iter()
        .map(|d| format!("{} {} and {}", d.name, d.base, d.new))
        .collect();
    let names: Vec<&str> = differences.iter().map(|d| d.name.as_str()).collect();
    format!(
        "{} (--ignore {} compares them all the same)",
        parts.join(", "),
        names.join(",")
    )
}

/// What a run tested, in a few words: `tcp stream forward, block 131072, parallel 4`.
pub fn describe(record: &Record) -> String {
    let parameters = &record.parameters;
    let mut words: Vec<&str> = Vec::new();
    words.extend(parameters.transport.as_deref());
    words.extend(parameters.kind.map(crate::record::TestKind::name));
    words.extend(parameters.direction.map(crate::record::Direction::name));
    let mut text = if words.is_empty() {
        record.tool.name().to_owned()
    } else {
        words.join(" ")
    };
    let said = ["kind", "transport", "direction", "duration"];
    for (name, value) in parameters.named() {
        if let Some(value) = value.filter(|_| !said.contains(&name)) {
            push(&mut text, format_args!(", {name} {value}"));
        }
    }
    text
}
