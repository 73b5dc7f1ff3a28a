//! What plots share: axes with round ticks, and the point of a value.

use maud::{Markup, html};

use crate::format::value::show;
use crate::metric::Unit;

/// A plot's size, and what lies between its edges and its axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) size: (f64, f64),
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// The vertical axis: values from 0 at the bottom to a round number at the top.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueAxis {
    frame: Frame,
    unit: Unit,
    step: f64,
    end: f64,
}

impl ValueAxis {
    pub(super) fn new(frame: Frame, unit: Unit, highest: f64) -> Self {
        let step = step(highest);
        Self {
            frame,
            unit,
            step,
            end: (highest / step).ceil().max(1.0) * step,
        }
    }

    /// The vertical position of a value.
    pub(super) fn y(&self, value: f64) -> f64 {
        round(self.exact(value))
    }

    fn exact(&self, value: f64) -> f64 {
        let Frame {
            size: (_, height),
            top,
            bottom,
            ..
        } = self.frame;
        height - bottom - value / self.end * (height - top - bottom)
    }

    /// A line across the plot for each tick, with its value.
    pub(super) fn draw(&self) -> Markup {
        let Frame {
            size, left, right, ..
        } = self.frame;
        html! {
            @for tick in ticks(self.end, self.step) {
                line class="axis" x1=(left) x2=(size.0 - right) y1=(self.y(tick)) y2=(self.y(tick)) {}
                text x=(left - 6.0) y=(round(self.exact(tick) + 4.0)) text-anchor="end" { (show(tick, self.unit)) }
            }
        }
    }
}

/// A value's circle, which pointer and keyboard reach: its centre, its position on the horizontal axis, and its value.
pub(super) fn point(
    colour: usize,
    (x, y): (f64, f64),
    (at, value): (f64, f64),
    label: &str,
) -> Markup {
    html! {
        circle class=(format!("point f{colour}")) cx=(x) cy=(y) r="4"
            tabindex="0" role="listitem" aria-label=(label) data-x=(at) data-y=(value) {
            title { (label) }
        }
    }
}

/// A tenth of a unit is finer than anybody sees.
pub(super) fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A round distance of ticks: 1, 2 or 5 times a power of ten, for four to ten of them.
pub(super) fn step(highest: f64) -> f64 {
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

pub(super) fn ticks(end: f64, step: f64) -> Vec<f64> {
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
}
