//! Figures over time: axes with round ticks, a curve for each series, and a point for each value, which pointer and
//! keyboard reach.

use maud::html;

use super::Panel;
use super::axis::{Frame, ValueAxis, point, round, step, ticks};
use crate::format::value::show;
use crate::metric::Unit;

/// The drawing's own units; the page scales it to its width.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 12.0;
const FRAME: Frame = Frame {
    size: (WIDTH, HEIGHT),
    left: LEFT,
    right: RIGHT,
    top: 12.0,
    bottom: 28.0,
};
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
    let x_step = step(last);
    let x_end = last.max(x_step);
    let x = |value: f64| LEFT + value / x_end * (WIDTH - LEFT - RIGHT);
    let values = ValueAxis::new(FRAME, unit, highest);
    let body = html! {
        (values.draw())
        @for tick in ticks(x_end, x_step) {
            text x=(round(x(tick))) y=(HEIGHT - 8.0) text-anchor="middle" { (show(tick, Unit::Seconds)) }
        }
        @for (at, series) in series.iter().enumerate() {
            @let lone = if series.points.len() == 1 { "points lone" } else { "points" };
            g class=(lone) role="list" aria-label=(series.name) {
                polyline class=(format!("curve s{}", at % 8)) points=(line(&series.points, x, &values)) {}
                @for &(time, value) in &series.points {
                    @let label = format!("{}: {} at {}", series.name, show(value, unit), show(time, Unit::Seconds));
                    (point(at % 8, (round(x(time)), values.y(value)), (time, value), &label))
                }
            }
        }
    };
    Some(Panel {
        title: title.to_owned(),
        size: FRAME.size,
        legend: series.into_iter().map(|series| series.name).collect(),
        body,
    })
}

fn line(points: &[(f64, f64)], x: impl Fn(f64) -> f64, values: &ValueAxis) -> String {
    let each = |&(time, value): &(f64, f64)| format!("{},{}", round(x(time)), values.y(value));
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
