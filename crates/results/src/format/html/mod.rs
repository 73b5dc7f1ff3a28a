//! One self-contained page: the table, and figures over time of each run. Light, dark and printable; every value is
//! reached by pointer and keyboard.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::draw::{
    COLOURS, Panel, forest, picture,
    plot::{MAX_SERIES, Series, plot},
};
use super::grid::{self, Grid};
use super::value::{plain, show};
use crate::compare::{Comparison, describe};
use crate::metric::Unit;
use crate::record::{FailedRun, Record, Sample};

/// Runs of one page with plots of their own; more are in the table only.
const MAX_PLOTTED: usize = 50;

/// Results side by side.
pub(super) fn report(records: &[Record]) -> String {
    let names = grid::names(records);
    let runs = records.iter().zip(&names).take(MAX_PLOTTED);
    page(
        "iperf report",
        &html! {
            h1 { "iperf report" }
            (table(&grid::report(records)))
            @for (record, name) in runs { (run(record, name)) }
            @if records.len() > MAX_PLOTTED { p { "Only the first " (MAX_PLOTTED) " runs are plotted." } }
        },
    )
}

/// A test without a result.
pub(super) fn failure(failed: &FailedRun) -> String {
    let peer = failed.target.as_ref().map(|target| match target.port {
        Some(port) => format!(" to {}, port {port}", target.host),
        None => format!(" to {}", target.host),
    });
    page(
        "iperf report",
        &html! {
            h1 { "iperf report" }
            p { (plain(&failed.run)) (plain(&peer.unwrap_or_default())) ": " span class="worse" { "failed" } }
            p { (plain(&failed.reason)) }
        },
    )
}

/// The plots of all runs in one picture.
pub(super) fn report_picture(records: &[Record]) -> String {
    let names = grid::names(records);
    let named = |(record, name): (&Record, &String)| {
        let several = records.len() > 1;
        let titled = move |mut panel: Panel| {
            if several {
                panel.title = format!("{}: {}", plain(name), panel.title);
            }
            panel
        };
        panels(record).into_iter().map(titled).collect::<Vec<_>>()
    };
    let panels: Vec<Panel> = records
        .iter()
        .zip(&names)
        .take(MAX_PLOTTED)
        .flat_map(named)
        .collect();
    picture(&title(records), &panels, 1)
}

/// The test of a single run, or how many runs there are.
fn title(records: &[Record]) -> String {
    match records {
        [one] => plain(&format!("{}: {}", grid::tool(one), describe(one))),
        several => format!("iperf report: {} runs", several.len()),
    }
}

/// The changes of a comparison as a picture.
pub(super) fn comparison_picture(comparison: &Comparison) -> String {
    let title = format!("iperf compare: {}", grid::conclusion(comparison));
    let panels: Vec<Panel> = forest::plot(comparison).into_iter().collect();
    picture(&title, &panels, 1)
}

/// A comparison: the table, and each change with its interval.
pub(super) fn comparison(comparison: &Comparison) -> String {
    page(
        "iperf compare",
        &html! {
            h1 { "iperf compare: " (grid::conclusion(comparison)) }
            (table(&grid::comparison(comparison)))
            @if let Some(panel) = forest::plot(comparison) { (panel.figure()) }
        },
    )
}

pub(super) fn page(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(COLOURS)) (PreEscaped(include_str!("page.css"))) }
            }
            body {
                main { (body) }
                div id="value" role="status" {}
                script { (PreEscaped(include_str!("script.js"))) }
            }
        }
    }
    .into_string()
}

pub(super) fn table(grid: &Grid) -> Markup {
    html! {
        @if !grid.rows.is_empty() {
            div class="wide" tabindex="0" {
                table {
                    thead { tr { @for cell in &grid.heading { th scope="col" { (cell) } } } }
                    tbody { @for row in &grid.rows { tr { @for cell in row { (data(cell)) } } } }
                }
            }
        }
        @for (title, lines) in grid.lists.iter().filter(|(_, lines)| !lines.is_empty()) {
            h3 { (title) }
            ul { @for line in lines { li { (line) } } }
        }
    }
}

/// A cell: figures to the right, verdicts in their colour.
fn data(cell: &str) -> Markup {
    let class = match cell.trim_matches(['(', ')']) {
        "WORSE" => "worse",
        "better" => "better",
        text if text.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-') => "figure",
        _ => "",
    };
    html! { td class=[(!class.is_empty()).then_some(class)] { (cell) } }
}

/// A figure of a sample.
type Figure = fn(&Sample) -> Option<f64>;

/// What is plotted of a run.
const FIGURES: [(&str, Unit, Figure); 7] = [
    ("Throughput", Unit::BitsPerSecond, |sample| {
        sample.throughput
    }),
    ("Transactions", Unit::PerSecond, |sample| {
        sample.transactions
    }),
    ("Round-trip time", Unit::Seconds, |sample| sample.rtt),
    ("Congestion window", Unit::Bytes, |sample| {
        sample.cwnd.map(|bytes| bytes as f64)
    }),
    ("Retransmits", Unit::Count, |sample| {
        sample.retransmits.map(|count| count as f64)
    }),
    ("Loss", Unit::Ratio, |sample| sample.loss),
    ("Jitter", Unit::Seconds, |sample| sample.jitter),
];

fn run(record: &Record, name: &str) -> Markup {
    let shares = record
        .metrics
        .iter()
        .filter(|metric| metric.name.starts_with("zerocopy."));
    let shares: Vec<_> = shares.collect();
    html! {
        section {
            h2 { (plain(name)) }
            p { (plain(&grid::tool(record))) " · " (plain(&describe(record))) }
            @for panel in panels(record) { (panel.figure()) }
            @if !shares.is_empty() {
                h3 { "Not copied" }
                dl { @for metric in shares { dt { (metric.name) } dd { (show(metric.value, metric.unit())) } } }
            }
            @if !record.environment.is_empty() {
                h3 { "Environment" }
                dl { @for (name, value) in &record.environment { dt { (plain(name)) } dd { (plain(value)) } } }
            }
        }
    }
}

/// The plots of a run.
pub(super) fn panels(record: &Record) -> Vec<Panel> {
    let figures = FIGURES
        .into_iter()
        .filter_map(|(title, unit, figure)| plot(title, unit, &series(record, figure)));
    figures
        .chain(plot("Latency", Unit::Seconds, &latencies(record)))
        .collect()
}

/// One series a stream and direction. Of a single stream the sum would be the same curve again.
fn series(record: &Record, figure: Figure) -> Vec<Series> {
    let mut series: Vec<(Option<u64>, bool, Series)> = Vec::new();
    for sample in &record.samples {
        let Some(value) = figure(sample).filter(|value| value.is_finite()) else {
            continue;
        };
        let key = (sample.stream, sample.reverse);
        let at = series
            .iter()
            .position(|(stream, reverse, _)| (*stream, *reverse) == key);
        let at = at.unwrap_or_else(|| {
            series.push((
                key.0,
                key.1,
                Series {
                    name: stream_name(key),
                    points: Vec::new(),
                },
            ));
            series.len() - 1
        });
        series[at].2.points.push((sample.end, value));
    }
    let lone = |reverse| {
        series
            .iter()
            .filter(|(stream, r, _)| stream.is_some() && *r == reverse)
            .count()
            == 1
    };
    let (lone_forward, lone_reverse) = (lone(false), lone(true));
    let repeated = |reverse: bool| if reverse { lone_reverse } else { lone_forward };
    let kept = series
        .into_iter()
        .filter(|(stream, reverse, _)| stream.is_some() || !repeated(*reverse));
    kept.take(MAX_SERIES).map(|(_, _, series)| series).collect()
}

fn stream_name((stream, reverse): (Option<u64>, bool)) -> String {
    let half = if reverse { ", reverse" } else { "" };
    match stream {
        Some(stream) => format!("stream {stream}{half}"),
        None => format!("all{half}"),
    }
}

/// One series a percentile, of all streams together or of the first. The greatest would flatten all others.
fn latencies(record: &Record) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    let first = record.samples.first().and_then(|sample| sample.stream);
    for sample in record
        .samples
        .iter()
        .filter(|sample| sample.stream == first)
    {
        for (name, value) in sample
            .latency
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "stddev" | "max"))
        {
            match series.iter_mut().find(|series| series.name == *name) {
                Some(series) => series.points.push((sample.end, *value)),
                None => series.push(Series {
                    name: name.clone(),
                    points: vec![(sample.end, *value)],
                }),
            }
        }
    }
    series
}
