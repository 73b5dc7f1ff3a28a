//! What GitHub's runners read: a summary in Markdown, and workflow commands on stdout that become annotations.

use super::grid::{self, undecided_because};
use super::text::markdown;
use super::value::push;
use super::value::{change, p, plain};
use crate::compare::Comparison;
use crate::stats::Verdict;

/// A step's summary may have 1 MiB; a larger one is dropped whole.
const MAX_SUMMARY: usize = 1 << 20;

/// The text for `$GITHUB_STEP_SUMMARY`.
pub(super) fn summary(comparison: &Comparison) -> String {
    let mut text = format!("### iperf compare: {}\n\n", grid::conclusion(comparison));
    text.push_str(&markdown(&grid::comparison(comparison)));
    text.push('\n');
    if text.len() > MAX_SUMMARY {
        text = format!(
            "### iperf compare: {}\n\nThe table is too long for a summary.\n",
            grid::conclusion(comparison)
        );
    }
    text
}

/// The workflow commands.
pub(super) fn annotations(comparison: &Comparison) -> String {
    let mut out = String::new();
    let mut say = |level: &str, title: &str, text: &str| {
        push(
            &mut out,
            format_args!("::{level} title={}::{}\n", property(title), data(text)),
        );
    };
    for test in &comparison.tests {
        for metric in test.metrics.iter().filter(|metric| metric.gated) {
            let title = format!("{} of {}", metric.name, test.name);
            let effect = metric.decision.effect;
            let changed = change(effect.change, effect.difference, metric.unit());
            match metric.verdict {
                Some(Verdict::Worse) => {
                    say(
                        "error",
                        &title,
                        &format!("worse by {changed} (p = {})", p(metric.adjusted_p)),
                    );
                }
                Some(Verdict::Inconclusive) => {
                    say(
                        "warning",
                        &title,
                        &format!("inconclusive: {}", undecided_because(metric)),
                    );
                }
                _ => {}
            }
        }
    }
    for checked in comparison
        .requirements
        .iter()
        .filter(|checked| !checked.met)
    {
        say(
            "error",
            "requirement missed",
            &format!("{} ({})", checked.requirement, checked.test),
        );
    }
    for reason in &comparison.incomparable {
        say("error", "not compared", reason);
    }
    out
}

/// Text of a command.
fn data(text: &str) -> String {
    plain(text).replace('%', "%25")
}

/// Text of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
