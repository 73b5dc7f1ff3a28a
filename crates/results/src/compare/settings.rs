//! The settings of a comparison: margins, requirements, and parameters that may differ.

use std::fmt;
use std::str::FromStr;

use super::quantity::value;
use crate::metric::{Unit, definition, unknown_metric};

/// How to compare.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Margins, in addition to the default ones. The last that matches counts.
    pub margins: Vec<Margin>,
    /// What the new runs must reach.
    pub requirements: Vec<Requirement>,
    /// Parameters that may differ.
    pub ignore: Vec<String>,
}

/// How much a metric may change and still count as the same: `throughput=3%`, `latency.p99=20us`.
#[derive(Debug, Clone, PartialEq)]
pub struct Margin {
    /// A metric, or the beginning of several: `latency` is all latencies.
    pub metric: String,
    /// The margin.
    pub size: Size,
}

/// A margin's size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// A share of the base, 0.03 for 3 %.
    Share(f64),
    /// In the metric's unit.
    Absolute(f64),
}

/// What a metric's median must be: `throughput>=9.4G`.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    /// The metric.
    pub metric: String,
    /// How it is compared.
    pub relation: Relation,
    /// With what, in the metric's unit.
    pub value: f64,
    /// As it was written.
    pub text: String,
}

/// What a requirement must be.
const RELATION: &str = "must be METRIC>=VALUE (or >, <=, <), such as throughput>=9.4G";

/// A relation of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `<=`
    AtMost,
    /// `<`
    Below,
}

impl Relation {
    /// Whether `left` and `right` are in this relation.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::AtLeast => left >= right,
            Self::Above => left > right,
            Self::AtMost => left <= right,
            Self::Below => left < right,
        }
    }
}

/// Where a metric without `--margin` changes: throughput and rates by 5 %, times by 10 %, shares by one in a hundred.
const DEFAULTS: &[(&str, Size)] = &[
    ("throughput", Size::Share(0.05)),
    ("transactions", Size::Share(0.05)),
    ("operations", Size::Share(0.05)),
    ("messages", Size::Share(0.05)),
    ("cpu", Size::Share(0.05)),
    ("latency", Size::Share(0.10)),
    ("one_way", Size::Share(0.10)),
    ("rtt", Size::Share(0.10)),
    ("jitter", Size::Share(0.10)),
    ("loss", Size::Absolute(0.01)),
    ("zerocopy", Size::Absolute(0.01)),
];

/// The metrics that are gated by default. The 99th percentile represents all latencies: with each additional metric,
/// changes are harder to detect.
const GATED: &[&str] = &[
    "throughput",
    "throughput.reverse",
    "transactions",
    "latency.p99",
];

impl Settings {
    /// The margin of a metric.
    pub fn margin(&self, metric: &str) -> Size {
        let own = self
            .margins
            .iter()
            .filter(|margin| covers(&margin.metric, metric))
            .max_by_key(|m| m.metric.len());
        let default = || {
            DEFAULTS
                .iter()
                .find(|(name, _)| covers(name, metric))
                .map(|(_, size)| *size)
        };
        own.map(|margin| margin.size)
            .or_else(default)
            .unwrap_or(Size::Share(0.05))
    }

    /// Whether a worse metric fails the comparison: the usual ones do, and those with a margin of their own.
    pub fn gates(&self, metric: &str) -> bool {
        GATED.contains(&metric) || self.margins.iter().any(|margin| margin.metric == metric)
    }

    /// Whether a parameter may differ.
    pub fn ignores(&self, parameter: &str) -> bool {
        self.ignore.iter().any(|name| name == parameter)
    }
}

/// Whether `name` is the metric or the beginning of its name.
fn covers(name: &str, metric: &str) -> bool {
    metric
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl FromStr for Margin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (metric, size) = text
            .split_once('=')
            .ok_or("must be METRIC=SIZE, such as throughput=3%")?;
        let group = metric.split('.').next().unwrap_or(metric);
        let unit = match definition(metric) {
            Some((unit, _)) => unit,
            None if definition(&format!("{group}.p50")).is_some() && metric == group => {
                Unit::Seconds
            }
            None if group == "cpu" && metric == group => Unit::SecondsPerGigabyte,
            None => return Err(unknown_metric(metric)),
        };
        let size = match size.strip_suffix('%').filter(|_| unit != Unit::Ratio) {
            Some(percent) => Size::Share(share(percent)?),
            None => Size::Absolute(value(size, unit)?),
        };
        Ok(Self {
            metric: metric.to_owned(),
            size,
        })
    }
}

fn share(percent: &str) -> Result<f64, String> {
    match crate::figures::amount(percent) {
        Some(percent) if percent > 0.0 && percent <= 1000.0 => Ok(percent / 100.0),
        _ => Err(format!("'{percent}%' must be above 0 %, up to 1000 %")),
    }
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>']).ok_or(RELATION)?;
        let (metric, rest) = text.split_at(at);
        let (relation, rest) = [
            (">=", Relation::AtLeast),
            ("<=", Relation::AtMost),
            (">", Relation::Above),
            ("<", Relation::Below),
        ]
        .into_iter()
        .find_map(|(sign, relation)| Some((relation, rest.strip_prefix(sign)?)))
        .ok_or(RELATION)?;
        let metric = metric.trim();
        let (unit, _) = definition(metric).ok_or_else(|| unknown_metric(metric))?;
        let value = value(rest.trim(), unit)?;
        Ok(Self {
            metric: metric.to_owned(),
            relation,
            value,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_that_names_a_metric_best_counts() {
        let margins =
            ["latency=20%", "latency.p99=20us", "throughput=3%"].map(|text| text.parse().unwrap());
        let settings = Settings {
            margins: margins.to_vec(),
            ..Settings::default()
        };
        assert_eq!(settings.margin("latency.p50"), Size::Share(0.2));
        assert_eq!(settings.margin("latency.p99"), Size::Absolute(20.0 * 1e-6));
        assert_eq!(settings.margin("throughput.reverse"), Size::Share(0.03));
        assert_eq!(settings.margin("transactions"), Size::Share(0.05));
        assert!(
            settings.gates("throughput")
                && settings.gates("latency.p99")
                && !settings.gates("latency.p50")
        );
    }

    #[test]
    fn invalid_margins_and_requirements_are_refused_with_the_reason() {
        for (text, reason) in [
            ("throughput", "METRIC=SIZE"),
            ("speed=3%", "no metric 'speed'"),
            ("throughput=0%", "must be above 0 %"),
            ("latency.p99=20", "must be a time"),
        ] {
            let error = text.parse::<Margin>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for (text, reason) in [
            ("throughput", "METRIC>=VALUE"),
            ("throughput>=", "must be a rate"),
            ("latency.p99<200", "must be a time"),
            ("speed>1", "no metric 'speed'"),
        ] {
            let error = text.parse::<Requirement>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn requirements_have_relation_and_value() {
        let read: Requirement = "zerocopy.rx.mapped>=95%".parse().unwrap();
        assert_eq!(
            (read.metric.as_str(), read.relation),
            ("zerocopy.rx.mapped", Relation::AtLeast)
        );
        assert!((read.value - 0.95).abs() < 1e-12);
        let read: Requirement = "latency.p99<200us".parse().unwrap();
        assert!(read.relation.holds(1e-4, read.value) && !read.relation.holds(2e-4, read.value));
    }
}
