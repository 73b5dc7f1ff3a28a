//! The comparisons as a table, in Markdown that is also readable as it is.

use crate::comparison::{Comparison, median, spread};

const HEAD: [&str; 8] = [
    "case",
    "figure",
    "ours",
    "peer",
    "ours/peer",
    "spread",
    "goal",
    "",
];

/// Draws the table.
pub fn markdown(comparisons: &[Comparison]) -> String {
    let mut rows: Vec<Vec<String>> = vec![HEAD.iter().map(|cell| (*cell).to_owned()).collect()];
    let mut before = "";
    for comparison in comparisons {
        rows.push(row(comparison, comparison.case.name != before));
        before = comparison.case.name;
    }
    draw(&rows)
}

fn row(comparison: &Comparison, is_first: bool) -> Vec<String> {
    let (unit, factor) = comparison.figure.unit();
    let value = |values: &[f64]| format!("{} {unit}", digits(median(values) * factor));
    let compared = |value: f64| {
        if comparison.figure.is_difference() {
            format!("{value:+.2} {unit}")
        } else {
            digits(value)
        }
    };
    let (low, high) = spread(&comparison.compared);
    let (goal, met) = comparison.goal().map_or_else(Default::default, |goal| {
        let mark = if goal.1 { "✓" } else { "✗" };
        (goal.0.text(comparison.figure), mark.to_owned())
    });
    let case = if is_first {
        let name = comparison.case.name;
        format!("{name}: `{}`", comparison.case.args_shown()).replace(": ``", "")
    } else {
        String::new()
    };
    vec![
        case,
        comparison.figure.name().to_owned(),
        value(&comparison.ours),
        value(&comparison.peer),
        compared(median(&comparison.compared)),
        format!("{} – {}", compared(low), compared(high)),
        goal,
        met,
    ]
}

/// Three digits that count; four where the first is a 1, as near to 1 the third is worth knowing.
fn digits(value: f64) -> String {
    let magnitude = value.abs();
    let places = match magnitude {
        _ if magnitude == 0.0 => 0,
        100.0.. => 0,
        20.0.. => 1,
        2.0.. => 2,
        0.1.. => 3,
        _ => 4,
    };
    format!("{value:.places$}")
}

fn draw(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| -> String {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!("| {cell:width$} "));
        cells.chain(["|\n".to_owned()]).collect()
    };
    let rule = widths
        .iter()
        .map(|width| format!("|{}", "-".repeat(width + 2)));
    let rule: String = rule.chain(["|\n".to_owned()]).collect();
    let (head, body) = rows.split_at(1);
    let head = head.iter().map(line);
    head.chain([rule]).chain(body.iter().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::CASES;
    use crate::figure::Figure;

    #[test]
    fn numbers_have_the_digits_that_count() {
        let shown = [0.0, 0.01234, 0.5557, 1.0004, 2.345, 23.45, 234.5].map(digits);
        assert_eq!(
            shown,
            ["0", "0.0123", "0.556", "1.000", "2.35", "23.4", "234"]
        );
    }

    #[test]
    fn a_row_has_medians_spread_and_goal() {
        let comparison = Comparison {
            case: CASES[0],
            figure: Figure::Throughput,
            ours: vec![20e9, 30e9, 40e9],
            peer: vec![20e9, 20e9, 20e9],
            compared: vec![1.0, 1.5, 2.0],
        };
        let table = markdown(&[comparison]);
        let line = table.lines().nth(2).unwrap();
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(
            cells[1..9],
            [
                "tcp",
                "throughput",
                "30.0 Gbit/s",
                "20.0 Gbit/s",
                "1.500",
                "1.000 – 2.00",
                "≥ 1.3",
                "✓"
            ]
        );
        let lengths: Vec<usize> = table.lines().map(|line| line.chars().count()).collect();
        assert!(lengths.iter().all(|length| *length == lengths[0]));
    }
}
