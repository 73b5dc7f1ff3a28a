//! Comparisons of files, from their bytes to the outcome.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use iperf_results::compare::{Comparison, Outcome, Settings, Side};
use iperf_results::format::{Format, comparison, report};
use iperf_results::stats::Verdict;
use iperf_results::{ReadOptions, read_bytes};

/// Ten runs around 1, as a quiet machine makes them.
const QUIET: [f64; 10] = [
    1.0, 1.01, 0.99, 1.005, 0.995, 1.008, 0.992, 1.003, 0.997, 1.0,
];

/// A side whose runs have these rates in Mbit/s.
fn side(name: &str, rates: &[f64]) -> Side {
    let line = |rate: &f64| {
        format!(
            "{} MB / 2.00 sec = {rate} Mbps 6 %TX 9 %RX 0 retrans 0.07 msRTT\n",
            rate / 4.0
        )
    };
    let text: String = rates.iter().map(line).collect();
    Side {
        name: name.into(),
        records: read_bytes(name, text.as_bytes(), &ReadOptions::default()).unwrap(),
    }
}

fn scaled(factor: f64, runs: usize) -> Vec<f64> {
    QUIET[..runs]
        .iter()
        .map(|rate| rate * 1000.0 * factor)
        .collect()
}

/// A document of ours with a rate, a pair and some parameters.
fn document(rate: f64, pair: u64, parallel: u64, kernel: &str) -> String {
    let bytes = rate * 1e6 / 8.0;
    format!(
        r#"{{"start": {{"version": "iperf 3.22", "system_info": "Linux h {kernel} x86_64", "pair": {pair},
        "connecting_to": {{"host": "h", "port": 1}}, "test_start": {{"protocol": "TCP", "num_streams": {parallel},
        "blksize": 131072, "duration": 1}}}}, "intervals": [],
        "end": {{"sum_received": {{"start": 0, "end": 1, "seconds": 1, "bytes": {bytes:.0}, "bits_per_second": 1}}}}}}"#
    )
}

fn documents(name: &str, rates: &[f64], parallel: u64, kernel: &str) -> Side {
    let text: String = rates
        .iter()
        .zip(1..)
        .map(|(rate, pair)| document(*rate, pair, parallel, kernel))
        .collect();
    Side {
        name: name.into(),
        records: read_bytes(name, text.as_bytes(), &ReadOptions::default()).unwrap(),
    }
}

fn throughput(compared: &Comparison) -> Option<Verdict> {
    compared.tests[0]
        .metrics
        .iter()
        .find(|metric| metric.name == "throughput")
        .unwrap()
        .verdict
}

#[test]
fn a_slowdown_fails_an_equal_side_passes_and_few_runs_are_inconclusive() {
    let base = side("base", &scaled(1.0, 10));
    for (factor, runs, verdict, outcome) in [
        (0.8, 10, Verdict::Worse, Outcome::Failed),
        (1.0, 10, Verdict::Same, Outcome::Passed),
        (1.25, 10, Verdict::Better, Outcome::Passed),
        (0.8, 1, Verdict::Inconclusive, Outcome::Inconclusive),
    ] {
        let sides = [base.clone(), side("new", &scaled(factor, runs))];
        let compared = Comparison::new(&sides, &Settings::default());
        assert_eq!(
            (throughput(&compared), compared.outcome()),
            (Some(verdict), outcome),
            "{factor} {runs}"
        );
    }
}

#[test]
fn runs_with_pair_numbers_are_compared_pair_by_pair() {
    let drift = [1000.0, 1400.0, 800.0, 1900.0, 1200.0, 700.0, 1600.0, 1100.0];
    let slower: Vec<f64> = drift.iter().map(|rate| rate * 0.85).collect();
    let base = documents("base", &drift, 1, "6.1.0");
    let mut new = documents("new", &slower, 1, "6.1.0");
    new.records.reverse();
    let compared = Comparison::new(&[base.clone(), new.clone()], &Settings::default());
    assert!(compared.tests[0].paired);
    assert_eq!(throughput(&compared), Some(Verdict::Worse));
    // One pair without its partner, and there are no pairs any more.
    new.records.pop();
    let compared = Comparison::new(&[base, new], &Settings::default());
    assert!(!compared.tests[0].paired);
    assert_eq!(throughput(&compared), Some(Verdict::Inconclusive));
}

#[test]
fn different_parameters_are_not_compared_unless_ignored_and_kernels_are_warned_of() {
    let sides = [
        documents("base", &scaled(1.0, 10), 1, "6.1.0"),
        documents("new", &scaled(0.8, 10), 4, "6.18.0"),
    ];
    let compared = Comparison::new(&sides, &Settings::default());
    assert_eq!(compared.outcome(), Outcome::NotComparable);
    assert!(
        compared.incomparable[0].contains("parallel 1 and 4"),
        "{:?}",
        compared.incomparable
    );
    let settings = Settings {
        ignore: vec!["parallel".into()],
        ..Settings::default()
    };
    let compared = Comparison::new(&sides, &settings);
    assert_eq!(compared.outcome(), Outcome::Failed);
    assert_eq!(
        compared.warnings,
        ["kernel differs: Linux 6.1.0 and Linux 6.18.0"]
    );
}

#[test]
fn each_test_of_a_side_is_compared_with_its_like() {
    let mut base = documents("base", &scaled(1.0, 10), 1, "6.1.0");
    base.records
        .extend(documents("base", &scaled(4.0, 10), 4, "6.1.0").records);
    let mut new = documents("new", &scaled(4.0, 10), 4, "6.1.0");
    new.records
        .extend(documents("new", &scaled(0.8, 10), 1, "6.1.0").records);
    let compared = Comparison::new(&[base, new], &Settings::default());
    let verdicts: Vec<_> = compared
        .tests
        .iter()
        .map(|test| (test.name.clone(), test.metrics[0].verdict))
        .collect();
    assert_eq!(verdicts.len(), 2, "{verdicts:?}");
    assert!(
        verdicts[0].0.contains("parallel 4") && verdicts[0].1 == Some(Verdict::Same),
        "{verdicts:?}"
    );
    assert!(
        verdicts[1].0.contains("parallel 1") && verdicts[1].1 == Some(Verdict::Worse),
        "{verdicts:?}"
    );
}

#[test]
fn requirements_are_of_the_new_runs_and_what_was_not_measured_is_missed() {
    let sides = [
        side("base", &scaled(1.0, 10)),
        side("new", &scaled(1.0, 10)),
    ];
    for (requirement, outcome) in [
        ("throughput>=0.9G", Outcome::Passed),
        ("throughput>=1.1G", Outcome::Failed),
        ("rtt<100us", Outcome::Passed),
        ("latency.p99<1s", Outcome::Failed),
    ] {
        let settings = Settings {
            requirements: vec![requirement.parse().unwrap()],
            ..Settings::default()
        };
        assert_eq!(
            Comparison::new(&sides, &settings).outcome(),
            outcome,
            "{requirement}"
        );
    }
}

#[test]
fn a_wider_margin_lets_a_change_pass() {
    let sides = [
        side("base", &scaled(1.0, 10)),
        side("new", &scaled(0.9, 10)),
    ];
    for (margin, verdict) in [
        ("throughput=5%", Verdict::Worse),
        ("throughput=20%", Verdict::Same),
    ] {
        let settings = Settings {
            margins: vec![margin.parse().unwrap()],
            ..Settings::default()
        };
        assert_eq!(
            throughput(&Comparison::new(&sides, &settings)),
            Some(verdict),
            "{margin}"
        );
    }
}

#[test]
fn counts_that_may_be_zero_are_compared_by_difference_and_not_gated() {
    let sides = [
        side("base", &scaled(1.0, 10)),
        side("new", &scaled(1.0, 10)),
    ];
    let compared = Comparison::new(&sides, &Settings::default());
    let retransmits = compared.tests[0]
        .metrics
        .iter()
        .find(|metric| metric.name == "retransmits")
        .unwrap();
    assert!(retransmits.decision.effect.difference && !retransmits.gated);
    assert_eq!(retransmits.verdict, Some(Verdict::Same));
}

#[test]
fn every_format_of_a_comparison_is_what_its_reader_expects() {
    let sides = [
        side("base", &scaled(1.0, 10)),
        side("new|x", &scaled(0.8, 10)),
    ];
    let compared = Comparison::new(&sides, &Settings::default());
    let print = |format| comparison(format, &sides, &compared);
    assert!(print(Format::Text).contains("WORSE"));
    assert!(print(Format::Markdown).contains("| throughput"));
    let json: serde_json::Value = serde_json::from_str(&print(Format::Json)).unwrap();
    assert_eq!(json["outcome"], "failed");
    assert_eq!(
        json["tests"][0]["metrics"]["throughput"]["verdict"],
        "worse"
    );
    let mut csv = csv::Reader::from_reader(print(Format::Csv).into_bytes().leak() as &[u8]);
    assert!(csv.records().all(|row| row.is_ok()));
    let junit = print(Format::Junit);
    assert!(
        junit.contains("<failure message=\"worse by -20.0 %"),
        "{junit}"
    );
    let github = print(Format::Github);
    assert!(github.starts_with("### iperf compare: Worse"), "{github}");
    let annotations = iperf_results::format::annotations(&compared);
    assert!(
        annotations.starts_with("::error title=throughput of tcp stream::worse by -20.0 %25"),
        "{annotations}"
    );
}

#[test]
fn metrics_files_have_families_together_and_labels_that_differ() {
    let records = side("a", &scaled(1.0, 3)).records;
    for (format, end) in [(Format::Prometheus, false), (Format::OpenMetrics, true)] {
        let text = report(format, &records, &[]).unwrap();
        assert_eq!(text.ends_with("# EOF\n"), end);
        let mut seen = std::collections::HashSet::new();
        let mut family = "";
        let mut families = std::collections::HashSet::new();
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap();
                assert!(families.insert(family), "{family} twice");
            } else if !line.starts_with("# TYPE ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(
                    series.starts_with(&format!("{family}{{")),
                    "{line} in {family}"
                );
                assert!(seen.insert(series), "{series} twice");
                assert!(value.parse::<f64>().unwrap().is_finite());
            }
        }
    }
}

#[test]
fn lines_of_influx_keep_the_types_of_their_fields() {
    let text = report(
        Format::Influx,
        &side("my file", &scaled(1.0, 2)).records,
        &[],
    )
    .unwrap();
    for line in text.lines() {
        assert!(line.starts_with("iperf,run=my\\ file:"), "{line}");
        assert!(
            line.contains("retransmits=0i")
                && line.contains("bytes=")
                && !line.contains("throughput=1000i"),
            "{line}"
        );
        assert!(
            line.contains(",throughput=") || line.contains(" throughput="),
            "{line}"
        );
    }
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn benchmark_services_get_one_figure_a_test_and_metric() {
    let records = side("a", &scaled(1.0, 10)).records;
    let bigger: serde_json::Value =
        serde_json::from_str(&report(Format::GithubActionBenchmark, &records, &[]).unwrap())
            .unwrap();
    assert_eq!(bigger.as_array().unwrap().len(), 1);
    assert_eq!(bigger[0]["name"], "nuttcp: tcp stream - throughput");
    assert_eq!(
        (bigger[0]["unit"].as_str(), bigger[0]["value"].as_f64()),
        (Some("bit/s"), Some(1e9))
    );
    let smaller = report(Format::GithubActionBenchmarkSmaller, &records, &[]).unwrap();
    assert!(
        smaller.contains("rtt") && !smaller.contains("throughput"),
        "{smaller}"
    );
    let bencher: serde_json::Value =
        serde_json::from_str(&report(Format::Bencher, &records, &[]).unwrap()).unwrap();
    let measure = &bencher["nuttcp: tcp stream"]["throughput-bits-per-second"];
    assert!(
        measure["lower_value"].as_f64() < measure["value"].as_f64(),
        "{bencher}"
    );
}

#[test]
fn a_page_needs_nothing_else_and_has_every_value() {
    let document = include_str!("data/samples/iperf-vsock-json-P2-R-len.json");
    let hostile = document.replace("iperf 3.9+", "iperf 3.9+ <script>alert(1)</script>");
    let records = read_bytes("<b>.json", hostile.as_bytes(), &ReadOptions::default()).unwrap();
    let page = report(Format::Html, &records, &[]).unwrap();
    for outside in [
        "http:",
        "https:",
        "src=",
        "href=",
        "@import",
        "<script>alert",
        "<b>.json",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Two streams and their sum: one figure, a point an interval and curve.
    let samples = &records[0].samples;
    assert_eq!(page.matches("<circle").count(), samples.len());
    for sample in samples {
        let value = sample.throughput.unwrap();
        assert!(
            page.contains(&format!("data-x=\"{}\" data-y=\"{value}\"", sample.end)),
            "{sample:?}"
        );
    }
}

#[test]
fn a_page_of_a_comparison_shows_each_change() {
    let sides = [
        side("base", &scaled(1.0, 10)),
        side("new", &scaled(0.8, 10)),
    ];
    let compared = Comparison::new(&sides, &Settings::default());
    let page = comparison(Format::Html, &sides, &compared);
    assert!(page.contains("class=\"worse\""), "{page}");
    assert!(page.contains("aria-label=\"throughput: -20.0 %"), "{page}");
}
