//! The changes of a comparison with their intervals, one below the other, with the margin.

use maud::{Markup, html};

use super::Panel;
use crate::compare::{Compared, Comparison};
use crate::format::grid::word;
use crate::format::value::change;
use crate::metric::Unit;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const ROW: f64 = 26.0;
/// The widest change that is drawn, as a share; wider ones end at the edge.
const WIDEST: f64 = 1.0;

/// Changes that are ratios; differences have units of their own and stay in the table.
pub(crate) fn plot(comparison: &Comparison) -> Option<Panel> {
    let metrics: Vec<&Compared> = comparison
        .tests
        .iter()
        .flat_map(|test| &test.metrics)
        .filter(|metric| metric.verdict.is_some() && !metric.decision.effect.difference)
        .collect();
    if metrics.is_empty() {
        return None;
    }
    let extent = |metric: &&Compared| {
        let effect = metric.decision.effect;
        let drawn = |value: f64| if value.is_finite() { value.abs() } else { 0.0 };
        drawn(effect.change)
            .max(if effect.low > -1.0 {
                drawn(effect.low)
            } else {
                0.0
            })
            .max(drawn(effect.high))
    };
    let widest = metrics
        .iter()
        .map(|m| extent(m).max(m.margin * 1.5))
        .fold(0.1, f64::max)
        .min(WIDEST);
    let x = |value: f64| {
        let middle = f64::midpoint(LEFT, WIDTH);
        middle + value.clamp(-widest, widest) / widest * (WIDTH - 12.0 - middle)
    };
    let height = ROW * (metrics.len() as f64 + 1.0);
    let body = html! {
        line class="axis" x1=(x(0.0)) x2=(x(0.0)) y1="0" y2=(height - ROW) {}
        @for side in [-widest, 0.0, widest] {
            text x=(x(side)) y=(height - 8.0) text-anchor=(anchor(side)) { (change(side, false, Unit::Ratio)) }
        }
        g class="points lone" role="list" aria-label="changes" {
            @for (at, metric) in metrics.iter().enumerate() { (row(metric, ROW * (at as f64 + 0.5), &x)) }
        }
    };
    Some(Panel {
        title: "Change with its 95 % interval; the grey band is the margin".to_owned(),
        size: (WIDTH, height),
        legend: Vec::new(),
        body,
    })
}

fn anchor(side: f64) -> &'static str {
    if side > 0.0 { "end" } else { "middle" }
}

fn row(metric: &Compared, y: f64, x: &impl Fn(f64) -> f64) -> Markup {
    let effect = metric.decision.effect;
    let verdict = metric.verdict.map_or("", word);
    let shown = |value| change(value, false, Unit::Ratio);
    let label = format!(
        "{}: {} ({} … {}), {verdict}",
        metric.name,
        shown(effect.change),
        shown(effect.low),
        shown(effect.high)
    );
    let (from, to) = (x(1.0 / (1.0 + metric.margin) - 1.0), x(metric.margin));
    html! {
        text x=(LEFT - 8.0) y=(y + 4.0) text-anchor="end" { (metric.name) }
        rect class="margin" x=(from) y=(y - 8.0) width=(to - from) height="16" {}
        line class="s0" x1=(x(effect.low)) x2=(x(effect.high)) y1=(y) y2=(y) {}
        circle class="point f0" cx=(x(effect.change)) cy=(y) r="5" tabindex="0" role="listitem" aria-label=(label)
            data-y=(effect.change) { title { (label) } }
    }
}
