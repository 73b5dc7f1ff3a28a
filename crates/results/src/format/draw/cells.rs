//! Medians with error bars over the values of an axis: the plot of a sweep. Values of an axis have equal distances,
//! which is a logarithmic axis for sizes that double.

use maud::{Markup, html};

use super::Panel;
use super::axis::{Frame, ValueAxis, point, round};
use crate::format::value::show;
use crate::metric::Unit;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 12.0;
const FRAME: Frame = Frame {
    size: (WIDTH, HEIGHT),
    left: LEFT,
    right: RIGHT,
    top: 14.0,
    bottom: 46.0,
};
/// Between error bars of different series at one value.
const APART: f64 = 7.0;
/// Half of the line at each end of an error bar.
const CAP: f64 = 3.0;
/// About as many characters fit below the axis.
const ROOM: usize = 70;

/// The runs of one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

/// One plot of a sweep.
pub(crate) struct Cells<'a> {
    pub(crate) title: String,
    pub(crate) unit: Unit,
    /// The name of the axis and its values.
    pub(crate) axis: &'a str,
    pub(crate) values: &'a [String],
    /// Whether neighbours are joined: the values are sizes or numbers.
    pub(crate) joined: bool,
    /// Each series with its name, and a figure for each value.
    pub(crate) series: Vec<(String, Vec<Option<Figure>>)>,
    /// The greatest value of all plots of the sweep.
    pub(crate) highest: f64,
}

impl Cells<'_> {
    pub(crate) fn panel(&self) -> Panel {
        let values = ValueAxis::new(FRAME, self.unit, self.highest);
        let body = html! {
            (values.draw())
            @for (at, value) in self.values.iter().enumerate() {
                text x=(round(self.x(at))) y=(HEIGHT - 26.0) text-anchor="middle" {
                    title { (value) }
                    (self.short(value))
                }
            }
            text x=(f64::midpoint(LEFT, WIDTH - RIGHT)) y=(HEIGHT - 8.0) text-anchor="middle" { (self.axis) }
            @for number in 0..self.series.len() { (self.line(number, &values)) }
        };
        Panel {
            title: self.title.clone(),
            size: FRAME.size,
            legend: self.series.iter().map(|(name, _)| name.clone()).collect(),
            body,
        }
    }

    /// The middle of a value's place.
    fn x(&self, at: usize) -> f64 {
        let count = self.values.len().max(1) as f64;
        LEFT + (at as f64 + 0.5) / count * (WIDTH - LEFT - RIGHT)
    }

    /// As much of a value as there is room for.
    fn short(&self, value: &str) -> String {
        let room = ROOM / self.values.len().max(1);
        if value.chars().count() <= room {
            return value.to_owned();
        }
        let kept = room.saturating_sub(1).max(1);
        value.chars().take(kept).chain(['…']).collect()
    }

    fn line(&self, number: usize, values: &ValueAxis) -> Markup {
        let (name, figures) = &self.series[number];
        let aside = (number as f64 - (self.series.len() as f64 - 1.0) / 2.0) * APART;
        let colour = number % 8;
        let known: Vec<(usize, Figure)> = figures
            .iter()
            .enumerate()
            .filter_map(|(at, figure)| Some((at, (*figure)?)))
            .collect();
        let x = |at: usize| round(self.x(at) + aside);
        let path: Vec<String> = known
            .iter()
            .map(|(at, figure)| format!("{},{}", x(*at), values.y(figure.median)))
            .collect();
        html! {
            g class="points lone" role="list" aria-label=(name) {
                @if self.joined { polyline class=(format!("curve s{colour}")) points=(path.join(" ")) {} }
                @for (at, figure) in known {
                    @let (left, right) = (x(at) - CAP, x(at) + CAP);
                    @let (bottom, top) = (values.y(figure.least), values.y(figure.most));
                    path class=(format!("range s{colour}"))
                        d=(format!("M{left} {bottom}H{right}M{left} {top}H{right}M{} {bottom}V{top}", x(at))) {}
                    @let label = format!(
                        "{name}, {} {}: {} ({} … {})", self.axis, self.values[at],
                        show(figure.median, self.unit), show(figure.least, self.unit), show(figure.most, self.unit),
                    );
                    (point(colour, (x(at), values.y(figure.median)), (at as f64, figure.median), &label))
                }
            }
        }
    }
}
