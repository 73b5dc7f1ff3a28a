//! Drawings as SVG. Colours are classes, so that one style has them for light, dark and paper.
//!
//! ```text
//! plot (over time)        ┐
//! forest (a comparison)   ├──► Panel ──► figure on a page, or part of a picture (svg)
//! cells (a sweep)         ┘
//! ```

mod axis;
pub(super) mod cells;
pub(super) mod forest;
pub(super) mod plot;

use maud::{Markup, PreEscaped, html};

/// The style that all drawings share.
pub(super) const COLOURS: &str = include_str!("colours.css");

/// The positions of the parts of a picture.
const MARGIN: f64 = 12.0;
const TITLE: f64 = 24.0;
const LEGEND: f64 = 22.0;
/// About the width of a character of a legend.
const CHARACTER: f64 = 6.6;

/// A drawing with its title.
pub(super) struct Panel {
    pub(super) title: String,
    /// Width and height, in the units of the body.
    pub(super) size: (f64, f64),
    /// The names of the series, in the order of their colours.
    pub(super) legend: Vec<String>,
    pub(super) body: Markup,
}

impl Panel {
    /// The drawing on a page.
    pub(super) fn figure(&self) -> Markup {
        let (width, height) = self.size;
        html! {
            figure {
                figcaption { (self.title) }
                svg viewBox=(format!("0 0 {width} {height}")) role="group" aria-label=(self.title) {
                    rect class="band" width=(width) height=(height) {}
                    (self.body)
                }
                @if self.legend.len() > 1 {
                    p class="legend" {
                        @for (at, name) in self.legend.iter().enumerate() {
                            span {
                                svg viewBox="0 0 10 10" aria-hidden="true" {
                                    rect class=(format!("f{}", at % 8)) width="10" height="10" {}
                                }
                                " " (name)
                            }
                        }
                    }
                }
            }
        }
    }

    /// Its height in a picture.
    fn whole_height(&self) -> f64 {
        TITLE + self.size.1 + LEGEND * self.legend_rows().len() as f64 + MARGIN
    }

    /// The rows of the legend: for each name its place and its number.
    fn legend_rows(&self) -> Vec<Vec<(f64, usize)>> {
        if self.legend.len() < 2 {
            return Vec::new();
        }
        let mut rows = vec![Vec::new()];
        let mut x = 0.0;
        for (at, name) in self.legend.iter().enumerate() {
            let width = 26.0 + CHARACTER * name.chars().count() as f64;
            if x > 0.0 && x + width > self.size.0 {
                rows.push(Vec::new());
                x = 0.0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((x, at));
            }
            x += width;
        }
        rows
    }

    /// The drawing in a picture, from `(left, top)` on.
    fn part(&self, left: f64, top: f64) -> Markup {
        let (width, height) = self.size;
        let below = TITLE + height + 16.0;
        html! {
            g transform=(format!("translate({left} {top})")) {
                text class="title" x="0" y=(TITLE - 9.0) { (self.title) }
                g transform=(format!("translate(0 {TITLE})")) {
                    rect class="band" width=(width) height=(height) {}
                    (self.body)
                }
                @for (row, names) in self.legend_rows().iter().enumerate() {
                    @for &(x, at) in names {
                        @let y = below + LEGEND * row as f64;
                        rect class=(format!("f{}", at % 8)) x=(x) y=(y - 9.0) width="10" height="10" {}
                        text x=(x + 15.0) y=(y) { (self.legend[at]) }
                    }
                }
            }
        }
    }
}

/// A picture of its own: the panels in rows of `columns`.
pub(super) fn picture(title: &str, panels: &[Panel], columns: usize) -> String {
    let columns = columns.clamp(1, panels.len().max(1));
    let widest = panels
        .iter()
        .map(|panel| panel.size.0)
        .fold(200.0, f64::max);
    let width = MARGIN + columns as f64 * (widest + MARGIN);
    let mut body = String::new();
    let mut top = MARGIN + TITLE;
    for row in panels.chunks(columns) {
        for (at, panel) in row.iter().enumerate() {
            let left = MARGIN + at as f64 * (widest + MARGIN);
            body.push_str(&panel.part(left, top).into_string());
        }
        top += row.iter().map(Panel::whole_height).fold(0.0, f64::max);
    }
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {top}")) width=(width) height=(top)
            role="img" aria-label=(title) {
            title { (title) }
            style { (PreEscaped(COLOURS)) }
            rect width=(width) height=(top) style="fill: var(--page)" {}
            text class="title" x=(MARGIN) y=(MARGIN + 12.0) { (title) }
            @if panels.is_empty() { text x=(MARGIN) y=(MARGIN + TITLE) { "Nothing to draw: no figures over time." } }
            (PreEscaped(body))
        }
    }
    .into_string()
        + "\n"
}
