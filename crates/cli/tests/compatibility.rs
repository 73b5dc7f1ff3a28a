//! The tables of `docs/compatibility.md` about the command line agree with the program.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::Arg;
use iperf_harness::differences::{DIFFERENCES, Difference, Outcome};

/// The lines of the document from one heading to the next.
fn section(heading: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<String> = text
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    assert!(!lines.is_empty(), "no section '{heading}'");
    lines
}

/// The rows of the one table in a section, without its head.
fn rows(heading: &str) -> Vec<String> {
    let lines = section(heading);
    let table = lines.into_iter().filter(|line| line.starts_with('|'));
    table.skip(2).collect()
}

/// The options that a row names: the text in backticks in its first cell.
fn named(row: &str) -> Vec<String> {
    let cell = row.split('|').nth(1).unwrap();
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Each option's names, as the help has them.
fn options() -> Vec<Vec<String>> {
    let named = |arg: &Arg| {
        let short = arg.get_short().map(|letter| format!("-{letter}"));
        let long = arg.get_long_and_visible_aliases().unwrap_or_default();
        let long = long.into_iter().map(|name| format!("--{name}"));
        short.into_iter().chain(long).collect()
    };
    let command = iperf_cli::command("iperf");
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    options.map(named).collect()
}

#[test]
fn each_option_has_its_row() {
    let options = options();
    assert!(options.len() > 70, "{options:?}");
    let rows = rows("## Options");
    let named: Vec<Vec<String>> = rows.iter().map(|row| named(row)).collect();
    for option in &options {
        assert!(named.contains(option), "no row for {option:?}");
    }
    for names in &named {
        assert!(options.contains(names), "no option {names:?}");
    }
    assert_eq!(named.len(), options.len(), "a row is there twice");
}

#[test]
fn each_row_names_the_ends_that_may_use_the_option() {
    let roles: BTreeSet<&str> = ["B", "C", "S", "–"].into();
    for row in rows("## Options") {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{row}");
        assert!(roles.contains(cells[2]) && !cells[3].is_empty(), "{row}");
        // What is only for one end is refused by the other, with the code's own text.
        let (other, message) = match cells[2] {
            "C" => ("-s", "client only"),
            "S" => ("-c host", "server only"),
            _ => continue,
        };
        let option = named(&row).pop().unwrap();
        if ["--client", "--server"].contains(&option.as_str()) {
            continue;
        }
        let refusal = [good_value(&option), String::new()]
            .into_iter()
            .any(|value| {
                let words = format!("{other} {option}{value}");
                let words = words.split(' ').map(Into::into);
                iperf_cli::parse(words).is_err_and(|error| error.to_string().contains(message))
            });
        assert!(refusal, "{other} takes {option}");
    }
}

/// A value that the option takes, if it takes one.
fn good_value(option: &str) -> String {
    match option {
        "--dscp" => "=ef",
        "--length" => "=1000",
        "--log-format" => "=json",
        "--metrics" => "=127.0.0.1:9579",
        "--zerocopy-rx" => "=mmap",
        _ => "=1",
    }
    .to_owned()
}

#[test]
fn each_difference_has_its_row() {
    let rows = rows("## The command line");
    let expected: Vec<String> = DIFFERENCES.iter().map(row).collect();
    assert!(
        rows == expected,
        "the table should be:\n{}",
        expected.join("\n")
    );
}

fn row(difference: &Difference) -> String {
    let examples: Vec<String> = difference
        .args
        .iter()
        .map(|args| format!("`{args}`"))
        .collect();
    let Difference {
        iperf3, here, why, ..
    } = difference;
    format!(
        "| {} | {} | {} | {why} |",
        examples.join(", "),
        outcome(*iperf3),
        outcome(*here)
    )
}

fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Accepted(meaning) => meaning.to_owned(),
        Outcome::Refused(text) => {
            let text = text.strip_prefix("parameter error - ").unwrap_or(text);
            format!("refused: `{text}`")
        }
    }
}
