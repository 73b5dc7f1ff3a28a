//! Figures over time as SVG: axes with round ticks, a curve a series, and a point a value that pointer and keyboard
//! reach. Colours are classes, so that the page's style has them for light, dark and paper.

use maud::{Markup, html};

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
/// Series of one plot; more are too many to tell apart.
pub(super) const MAX_SERIES: usize = 32;

/// Values over time.
pub(super) struct Series {
    pub(super) name: String,
    /// Seconds and value.
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot, or nothing if there is nothing to see.
pub(super) fn plot(title: &str, unit: Unit, series: &[Series]) -> Markup {
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
        return html! {};
    }
    let (x_step, y_step) = (step(last), step(highest));
    let (x_end, y_end) = (
        last.max(x_step),
        (highest / y_step).ceil().max(1.0) * y_step,
    );
    let x = |value: f64| LEFT + value / x_end * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / y_end * (HEIGHT - TOP - BOTTOM);
    html! {
        figure {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="group" aria-label=(title) {
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
            }
            @if series.len() > 1 { (legend(&series)) }
        }
    }
}

fn legend(series: &[Series]) -> Markup {
    html! {
        p class="legend" {
            @for (at, series) in series.iter().enumerate() {
                span {
                    svg viewBox="0 0 10 10" aria-hidden="true" { rect class=(format!("f{}", at % 8)) width="10" height="10" {} }
                    " " (series.name)
                }
            }
        }
    }
}

fn line(points: &[(f64, f64)], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let each = |&(time, value): &(f64, f64)| format!("{},{}", round(x(time)), round(y(value)));
    points.iter().map(each).collect::<Vec<_>>().join(" ")
}

/// A tenth of a unit is finer than anybody sees.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
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

/// A round distance of ticks: 1, 2 or 5 times a power of ten, for four to ten of them.
fn step(highest: f64) -> f64 {
    if highest <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf((highest / 5.0).log10().floor());
    let nearest = highest / 5.0 / power;
    power
        * [1.0, 2.0, 5.0]
            .into_iter()
            .find(|step| nearest <= *step)
            .unwrap_or(10.0)
}

fn ticks(end: f64, step: f64) -> Vec<f64> {
    (0..20)
        .map(|at| f64::from(at) * step)
        .take_while(|tick| *tick <= end * (1.0 + 1e-9))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (highest, expected) in [
            (9.4e9, 2e9),
            (1.0, 0.2),
            (0.000_37, 1e-4),
            (0.0, 1.0),
            (23.0, 5.0),
        ] {
            let step = step(highest);
            assert!((step / expected - 1.0).abs() < 1e-9, "{highest}: {step}");
            assert!(ticks(highest.max(1e-9), step).len() <= 11);
        }
    }

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
        let text = plot("throughput", Unit::BitsPerSecond, &[series]).into_string();
        assert!(
            text.contains("data-x=\"1\" data-y=\"2000000000\""),
            "{text}"
        );
        assert!(
            text.contains("aria-label=\"&lt;5&gt;: 4 Gbit/s at 2 s\""),
            "{text}"
        );
        assert_eq!(plot("empty", Unit::Count, &[]).into_string(), "");
    }
}
