//! Figures over time: axes with round ticks, a curve for each series, and a point for each value, which pointer and
//! keyboard reach.

use maud::html;

use super::Panel;
use super::axis::{round, step, ticks};
use crate::format::value::show;
use crate::metric::Unit;

/// The drawing's own units; the page scales it to its width.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;
/// A series of more values is drawn by the means of neighbours.
const MAX_POINTS: usize = 400;
/// Series of one plot; more cannot be distinguished.
pub(crate) const MAX_SERIES: usize = 32;

/// Values over time.
pub(crate) struct Series {
    pub(crate) name: String,
    /// Seconds and value.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot, or nothing if there is nothing to see.
pub(crate) fn plot(title: &str, unit: Unit, series: &[Series]) -> Option<Panel> {
    let series: Vec<Series> = series
        .iter()
        .filter(|s| !s.points.is_empty())
        .take(MAX_SERIES)
        .map(thin)
        .collect();
    let all = || {
        series
            .iter()
            .flat_map(|series| series.points.iter().copied())
    };
    let last = all().map(|(x, _)| x).fold(0.0, f64::max);
    let highest = all().map(|(_, y)| y).fold(0.0, f64::max);
    if series.is_empty() || last <= 0.0 {
        return None;
    }
    let (x_step, y_step) = (step(last), step(highest));
    let (x_end, y_end) = (
        last.max(x_step),
        (highest / y_step).ceil().max(1.0) * y_step,
    );
    let x = |value: f64| LEFT + value / x_end * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / y_end * (HEIGHT - TOP - BOTTOM);
    let body = html! {
        @for tick in ticks(y_end, y_step) {
            line class="axis" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(round(y(tick))) y2=(round(y(tick))) {}
            text x=(LEFT - 6.0) y=(round(y(tick) + 4.0)) text-anchor="end" { (show(tick, unit)) }
        }
        @for tick in ticks(x_end, x_step) {
            text x=(round(x(tick))) y=(HEIGHT - 8.0) text-anchor="middle" { (show(tick, Unit::Seconds)) }
        }
        @for (at, series) in series.iter().enumerate() {
            @let lone = if series.points.len() == 1 { "points lone" } else { "points" };
            g class=(lone) role="list" aria-label=(series.name) {
                polyline class=(format!("curve s{}", at % 8)) points=(line(&series.points, x, y)) {}
                @for &(time, value) in &series.points {
                    @let label = format!("{}: {} at {}", series.name, show(value, unit), show(time, Unit::Seconds));
                    circle class=(format!("point f{}", at % 8)) cx=(round(x(time))) cy=(round(y(value))) r="4"
                        tabindex="0" role="listitem" aria-label=(label) data-x=(time) data-y=(value) {
                        title { (label) }
                    }
                }
            }
        }
    };
    Some(Panel {
        title: title.to_owned(),
        size: (WIDTH, HEIGHT),
        legend: series.into_iter().map(|series| series.name).collect(),
        body,
    })
}

fn line(points: &[(f64, f64)], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let each = |&(time, value): &(f64, f64)| format!("{},{}", round(x(time)), round(y(value)));
    points.iter().map(each).collect::<Vec<_>>().join(" ")
}

/// The series with at most [`MAX_POINTS`] values: means of neighbours, at the last one's time.
fn thin(series: &Series) -> Series {
    let size = series.points.len().div_ceil(MAX_POINTS).max(1);
    let mean = |part: &[(f64, f64)]| {
        let sum: f64 = part.iter().map(|(_, value)| value).sum();
        (part[part.len() - 1].0, sum / part.len() as f64)
    };
    Series {
        name: series.name.clone(),
        points: series.points.chunks(size).map(mean).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_series_are_drawn_by_means() {
        let points: Vec<(f64, f64)> = (0..1000)
            .map(|at| (f64::from(at), f64::from(at % 2)))
            .collect();
        let thin = thin(&Series {
            name: "s".into(),
            points,
        });
        assert!(thin.points.len() <= MAX_POINTS);
        assert_eq!(thin.points.last().map(|(time, _)| *time), Some(999.0));
    }

    #[test]
    fn every_value_is_in_the_drawing() {
        let series = Series {
            name: "<5>".into(),
            points: vec![(1.0, 2e9), (2.0, 4e9)],
        };
        let panel = plot("throughput", Unit::BitsPerSecond, &[series]).unwrap();
        let text = panel.body.into_string();
        assert!(
            text.contains("data-x=\"1\" data-y=\"2000000000\""),
            "{text}"
        );
        assert!(
            text.contains("aria-label=\"&lt;5&gt;: 4 Gbit/s at 2 s\""),
            "{text}"
        );
        assert!(plot("empty", Unit::Count, &[]).is_none());
    }
}
