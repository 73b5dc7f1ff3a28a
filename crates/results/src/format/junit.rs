//! JUnit XML of a comparison: a test case per gated metric and per requirement.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::grid::undecided_because;
use super::value::{change, p, plain, show};
use crate::compare::{Compared, Comparison};
use crate::stats::Verdict;

pub(super) fn comparison(comparison: &Comparison) -> String {
    let mut report = Report::new("iperf compare");
    let mut suite = TestSuite::new("iperf compare");
    for test in &comparison.tests {
        for metric in test.metrics.iter().filter(|metric| metric.gated) {
            let mut case = TestCase::new(metric.name.clone(), status(metric));
            case.set_classname(plain(&format!("{}: {}", test.new, test.name)));
            suite.add_test_case(case);
        }
    }
    for checked in &comparison.requirements {
        let unit = crate::metric::definition(&checked.requirement.metric).map(|(unit, _)| unit);
        let mut status = TestCaseStatus::success();
        if !checked.met {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let value = checked
                .value
                .zip(unit)
                .map_or_else(|| "not measured".into(), |(value, unit)| show(value, unit));
            status.set_message(format!("{}: {value}", checked.requirement));
        }
        let mut case = TestCase::new(checked.requirement.text.clone(), status);
        case.set_classname(plain(&format!("{}: {}", checked.side, checked.test)));
        suite.add_test_case(case);
    }
    for reason in &comparison.incomparable {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(plain(reason));
        let mut case = TestCase::new("comparable", status);
        case.set_classname(plain(reason));
        suite.add_test_case(case);
    }
    report.add_test_suite(suite);
    report.to_string().unwrap_or_default()
}

fn status(metric: &Compared) -> TestCaseStatus {
    let unit = metric.unit();
    let effect = metric.decision.effect;
    match metric.verdict {
        Some(Verdict::Worse) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let changed = change(effect.change, effect.difference, unit);
            status.set_message(format!("worse by {changed} (p = {})", p(metric.adjusted_p)));
            status.set_description(format!(
                "base {} (n={}), new {} (n={}), interval {} … {}",
                show(metric.base.median, unit),
                metric.base.n,
                show(metric.new.median, unit),
                metric.new.n,
                change(effect.low, effect.difference, unit),
                change(effect.high, effect.difference, unit),
            ));
            status
        }
        Some(Verdict::Inconclusive) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("inconclusive: {}", undecided_because(metric)));
            status
        }
        _ => TestCaseStatus::success(),
    }
}
