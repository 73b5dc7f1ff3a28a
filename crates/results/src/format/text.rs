//! Tables for a terminal and for Markdown.

use super::value::push;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::grid::Grid;

/// A table for a terminal: as wide as it needs.
pub(super) fn text(grid: &Grid) -> String {
    let mut out = String::new();
    if !grid.rows.is_empty() {
        out.push_str(&table(grid, presets::NOTHING));
        out.push('\n');
    }
    for (title, lines) in grid.lists.iter().filter(|(_, lines)| !lines.is_empty()) {
        push(&mut out, format_args!("\n{title}:\n"));
        for line in lines {
            push(&mut out, format_args!("  {line}\n"));
        }
    }
    out
}

/// A table for Markdown; bars in cells are escaped.
pub(super) fn markdown(grid: &Grid) -> String {
    let mut out = String::new();
    if !grid.rows.is_empty() {
        let escape = |cells: &[String]| cells.iter().map(|cell| markup(cell)).collect::<Vec<_>>();
        let escaped = Grid {
            heading: escape(&grid.heading),
            rows: grid.rows.iter().map(|row| escape(row)).collect(),
            lists: Vec::new(),
        };
        out.push_str(&table(&escaped, presets::ASCII_MARKDOWN));
        out.push('\n');
    }
    for (title, lines) in grid.lists.iter().filter(|(_, lines)| !lines.is_empty()) {
        push(&mut out, format_args!("\n**{title}**\n\n"));
        for line in lines {
            push(&mut out, format_args!("- {}\n", markup(line)));
        }
    }
    out
}

/// Text whose characters mean nothing to Markdown or to the HTML in it.
fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

fn table(grid: &Grid, preset: &str) -> String {
    let mut table = Table::new();
    table
        .load_preset(preset)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(&grid.heading);
    table.add_rows(&grid.rows);
    // Figures begin behind the words of the first columns.
    let figure =
        |text: &String| text.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-');
    for (at, column) in table.column_iter_mut().enumerate() {
        if at > 0
            && grid.rows.iter().all(|row| {
                row.get(at)
                    .is_none_or(|cell| cell.is_empty() || figure(cell))
            })
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}
