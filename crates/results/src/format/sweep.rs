//! A metric over the combinations of a sweep: tables, bars for a terminal, and plots with error bars.
//!
//! ```text
//! first axis   rows             ┐ the one of numbers, or the longer one, is the horizontal axis of plots;
//! second       columns          ┘ the other has a curve for each value
//! others       a table and a plot for each combination of values
//! ```

use maud::html;

use super::draw::cells::{Cells, Figure};
use super::draw::{Panel, picture};
use super::grid::Grid;
use super::value::{plain, push, show};
use super::{Format, html as page, text};
use crate::metric::Unit;
use crate::stats::median;

/// Columns of a terminal that names and figures of bars take.
const BESIDE_BARS: usize = 40;

/// What a sweep has measured.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// What the values are: a metric, or `seconds for N bytes`.
    pub what: String,
    /// Their unit.
    pub unit: Unit,
    /// Each axis with its values, at least one.
    pub axes: Vec<(String, Vec<String>)>,
    /// The values of each combination: its place on each axis, and one value for each run.
    pub cells: Vec<(Vec<usize>, Vec<f64>)>,
}

/// A table and a plot: those of one combination of the further axes.
struct Group {
    title: String,
    further: Vec<usize>,
}

/// A sweep as text, Markdown, a page or a picture; `None` for formats of runs. `bars` is the width of a terminal for
/// bars below the tables of text.
pub fn sweep(format: Format, sweep: &Sweep, bars: Option<usize>) -> Option<String> {
    let groups = sweep.groups();
    let tables = |print: fn(&Grid) -> String| {
        let one = |group: &Group| {
            let space = if format == Format::Markdown {
                "\n\n"
            } else {
                "\n"
            };
            format!("{}{space}{}\n", group.title, print(&sweep.table(group)))
        };
        groups.iter().map(one).collect::<String>()
    };
    Some(match format {
        Format::Text => {
            let bars = bars.map_or_else(String::new, |width| sweep.bars(&groups, width));
            tables(text::text) + &bars
        }
        Format::Markdown => tables(text::markdown),
        Format::Html => page::page(
            "iperf sweep",
            &html! {
                h1 { "iperf sweep: " (plain(&sweep.what)) }
                @for group in &groups {
                    @if !group.further.is_empty() { h2 { (group.title) } }
                    (page::table(&sweep.table(group)))
                }
                div class="panels" { @for panel in sweep.panels(&groups) { (panel.figure()) } }
                p { "Points are medians; error bars reach from the least to the greatest of " (sweep.runs()) " runs." }
            },
        ),
        Format::Svg => picture(
            &format!(
                "iperf sweep: medians, least and greatest of {} runs",
                sweep.runs()
            ),
            &sweep.panels(&groups),
            2,
        ),
        _ => return None,
    })
}

impl Sweep {
    fn groups(&self) -> Vec<Group> {
        let mut all: Vec<Vec<usize>> = self
            .cells
            .iter()
            .map(|(at, _)| at.get(2..).unwrap_or_default().to_vec())
            .collect();
        all.sort();
        all.dedup();
        let title = |further: &[usize]| {
            let mut title = self.what.clone();
            for ((name, values), at) in self.axes.iter().skip(2).zip(further) {
                push(&mut title, format_args!(", {name}={}", values[*at]));
            }
            plain(&title)
        };
        all.into_iter()
            .map(|further| Group {
                title: title(&further),
                further,
            })
            .collect()
    }

    fn runs(&self) -> usize {
        self.cells
            .iter()
            .map(|(_, values)| values.len())
            .max()
            .unwrap_or(0)
    }

    fn columns(&self) -> usize {
        self.axes.get(1).map_or(1, |(_, values)| values.len())
    }

    /// The figure of a cell of a table, if it has any runs.
    fn figure(&self, group: &Group, row: usize, column: usize) -> Option<Figure> {
        let mut at = vec![row];
        at.extend(self.axes.get(1).map(|_| column));
        at.extend(&group.further);
        let (_, values) = self.cells.iter().find(|(place, _)| *place == at)?;
        let least = values.iter().copied().reduce(f64::min)?;
        Some(Figure {
            least,
            median: median(values),
            most: values.iter().copied().reduce(f64::max)?,
        })
    }

    fn table(&self, group: &Group) -> Grid {
        let (rows, values) = &self.axes[0];
        let mut heading = vec![plain(rows)];
        match self.axes.get(1) {
            Some((name, values)) => {
                heading.extend(values.iter().map(|value| plain(&format!("{name}={value}"))));
            }
            None => heading.push(plain(&self.what)),
        }
        let cell = |row, column| match self.figure(group, row, column) {
            None => "no result".to_owned(),
            Some(figure) if figure.least.total_cmp(&figure.most).is_eq() => {
                show(figure.median, self.unit)
            }
            Some(figure) => format!(
                "{} ({} … {})",
                show(figure.median, self.unit),
                show(figure.least, self.unit),
                show(figure.most, self.unit)
            ),
        };
        let row = |(at, value): (usize, &String)| {
            let cells = (0..self.columns()).map(|column| cell(at, column));
            std::iter::once(plain(value)).chain(cells).collect()
        };
        Grid {
            heading,
            rows: values.iter().enumerate().map(row).collect(),
            lists: Vec::new(),
        }
    }

    /// Whether the second axis is the horizontal one of plots.
    fn across(&self) -> bool {
        let [(_, first), (_, second), ..] = &self.axes[..] else {
            return false;
        };
        match (numbers(first), numbers(second)) {
            (true, false) => false,
            (false, true) => true,
            _ => second.len() > first.len(),
        }
    }

    fn highest(&self) -> f64 {
        let values = self.cells.iter().flat_map(|(_, values)| values);
        values.copied().fold(0.0, f64::max)
    }

    fn panels(&self, groups: &[Group]) -> Vec<Panel> {
        let across = self.across();
        let (axis, values) = &self.axes[usize::from(across)];
        let other = if across {
            self.axes.first()
        } else {
            self.axes.get(1)
        };
        let highest = self.highest();
        let panel = |group: &Group| {
            let figures = |number: usize| {
                (0..values.len())
                    .map(|at| {
                        if across {
                            self.figure(group, number, at)
                        } else {
                            self.figure(group, at, number)
                        }
                    })
                    .collect()
            };
            let series = match other {
                None => vec![(plain(&self.what), figures(0))],
                Some((name, values)) => values
                    .iter()
                    .enumerate()
                    .map(|(number, value)| (plain(&format!("{name}={value}")), figures(number)))
                    .collect(),
            };
            Cells {
                title: group.title.clone(),
                unit: self.unit,
                axis,
                values,
                joined: numbers(values),
                series,
                highest,
            }
            .panel()
        };
        groups.iter().map(panel).collect()
    }

    /// Bars for a terminal: dark to the least, lighter to the median, light to the greatest.
    fn bars(&self, groups: &[Group], width: usize) -> String {
        let width = width.saturating_sub(BESIDE_BARS).clamp(20, 120);
        let highest = self.highest();
        let mut out = String::new();
        for group in groups {
            push(&mut out, format_args!("{}\n", group.title));
            let mut rows = Vec::new();
            for (row, first) in self.axes[0].1.iter().enumerate() {
                for column in 0..self.columns() {
                    let second = self.axes.get(1).map(|(_, values)| values[column].as_str());
                    let first = if column == 0 { first.as_str() } else { "" };
                    let figure = self.figure(group, row, column);
                    let mut cells = vec![plain(first)];
                    cells.extend(second.map(plain));
                    cells.push(figure.map_or_else(String::new, |f| bar(f, highest, width)));
                    cells.push(figure.map_or_else(
                        || "no result".to_owned(),
                        |figure| show(figure.median, self.unit),
                    ));
                    rows.push(cells);
                }
            }
            let mut heading: Vec<String> = self
                .axes
                .iter()
                .take(2)
                .map(|(name, _)| plain(name))
                .collect();
            heading.extend([String::new(), "median".to_owned()]);
            let grid = Grid {
                heading,
                rows,
                lists: Vec::new(),
            };
            out.push_str(&text::text(&grid));
            out.push('\n');
        }
        push(
            &mut out,
            format_args!(
                " █ to the least of {} runs, ▓ to the median, ░ to the greatest\n",
                self.runs()
            ),
        );
        out
    }
}

/// Whether all values are numbers or sizes: `4K`, `1.5G`, `20`.
fn numbers(values: &[String]) -> bool {
    values.iter().all(|value| {
        let number = value.trim_end_matches(|c: char| "kKmMgGtT".contains(c));
        number.len() + 1 >= value.len() && number.parse::<f64>().is_ok()
    })
}

fn bar(figure: Figure, highest: f64, width: usize) -> String {
    // As many as end before the value.
    let columns = |value: f64| {
        let end = |column: usize| (column as f64 + 0.5) / width as f64 * highest;
        (0..width).take_while(|column| end(*column) < value).count()
    };
    let (least, median, most) = (
        columns(figure.least),
        columns(figure.median),
        columns(figure.most),
    );
    let mut bar = "█".repeat(least);
    bar.push_str(&"▓".repeat(median - least));
    bar.push_str(&"░".repeat(most - median));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes() -> Sweep {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let cell = |at: &[usize], values: &[f64]| (at.to_vec(), values.to_vec());
        Sweep {
            what: "throughput".into(),
            unit: Unit::BitsPerSecond,
            axes: vec![
                ("zerocopy-rx".into(), values(&["off", "<mmap>"])),
                ("length".into(), values(&["4K", "32K"])),
                ("parallel".into(), values(&["1", "2"])),
            ],
            cells: vec![
                cell(&[0, 0, 0], &[1e9, 2e9, 4e9]),
                cell(&[0, 1, 0], &[2e9, 3e9, 4e9]),
                cell(&[1, 0, 0], &[1e9]),
                cell(&[1, 1, 0], &[]),
                cell(&[0, 0, 1], &[5e9, 6e9]),
            ],
        }
    }

    #[test]
    fn a_table_and_a_plot_for_each_value_of_the_third_axis() {
        let text = sweep(Format::Text, &sizes(), None).unwrap();
        assert!(text.starts_with("throughput, parallel=1\n"), "{text}");
        for part in [
            "throughput, parallel=2\n",
            "2 Gbit/s (1 Gbit/s … 4 Gbit/s)",
            "length=32K",
            "no result",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let picture = sweep(Format::Svg, &sizes(), None).unwrap();
        assert_eq!(picture.matches(">throughput, parallel=").count(), 2);
        assert_eq!(sweep(Format::Csv, &sizes(), None), None);
    }

    #[test]
    fn the_axis_of_sizes_is_horizontal_and_every_cell_has_point_and_error_bar() {
        let picture = sweep(Format::Svg, &sizes(), None).unwrap();
        for part in [
            "aria-label=\"zerocopy-rx=off, length 4K: 2 Gbit/s (1 Gbit/s … 4 Gbit/s)\"",
            "zerocopy-rx=&lt;mmap&gt;, length 4K: 1 Gbit/s",
            "data-x=\"1\" data-y=\"3000000000\"",
        ] {
            assert!(picture.contains(part), "{part} in\n{picture}");
        }
        assert_eq!(picture.matches("<circle").count(), 4);
        assert_eq!(picture.matches("class=\"range").count(), 4);
    }

    #[test]
    fn bars_show_least_median_and_greatest() {
        let text = sweep(Format::Text, &sizes(), Some(BESIDE_BARS + 60)).unwrap();
        // 1, 2 and 4 of 6 Gbit/s on 60 columns.
        let expected = format!("{}{}{} ", "█".repeat(10), "▓".repeat(10), "░".repeat(20));
        assert!(text.contains(&expected), "{text}");
    }

    #[test]
    fn sizes_and_numbers_are_joined_by_curves() {
        let values = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        assert!(numbers(&values(&["4K", "1.5G", "20"])));
        assert!(!numbers(&values(&["off", "4K"])) && !numbers(&values(&["mmap"])));
    }
}
