//! Subcommands, in addition to iperf3's flat command line.
//!
//! A subcommand is the first word of a command line and has options of its own, which clap reads and explains. To add
//! one, add a variant with its arguments here and a file that runs it: help, man page and completions follow.

mod documents;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{FromArgMatches, Subcommand};

use crate::{exporter, results};

/// Exit code of a usage error, as clap has it, and of output that cannot be written.
const USAGE: u8 = 2;

/// The names of the subcommands, for messages and for `man`.
const COMMANDS: [&str; 7] = [
    "report",
    "compare",
    "bench",
    "sweep",
    "exporter",
    "completions",
    "man",
];

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Results(results::Command),
    Exporter(exporter::ExporterArgs),
    /// Print a completion script for a shell
    Completions(documents::Completions),
    /// Print a man page
    Man(documents::ManPage),
}

/// The whole command line: iperf3's options and the subcommands.
fn definition(program: &str) -> clap::Command {
    let command = iperf_cli::command(program);
    let about = command.get_about().cloned();
    // A comment on the enum would take its place.
    Command::augment_subcommands(command).about(about.unwrap_or_default())
}

/// The text of `-h`.
pub(crate) fn help(program: &str) -> String {
    definition(program).render_help().to_string()
}

/// Runs the subcommand that the first word names, if it names one.
pub(crate) fn run(program: &str, words: &[OsString]) -> Option<ExitCode> {
    let first = words.first()?.to_str()?;
    if !Command::has_subcommand(first) {
        return None;
    }
    let parser = clap::Command::new("iperf")
        .bin_name(program.to_owned())
        .no_binary_name(true);
    let read = Command::augment_subcommands(parser)
        .try_get_matches_from(words)
        .and_then(|matches| Command::from_arg_matches(&matches));
    Some(match read {
        Ok(Command::Results(command)) => command.run(),
        Ok(Command::Exporter(args)) => args.run(),
        Ok(Command::Completions(args)) => args.run(program),
        Ok(Command::Man(args)) => args.run(program),
        Err(error) => fail(&error),
    })
}

/// What a first word that is neither an option nor a subcommand may have been meant as.
pub(crate) fn unknown(program: &str, words: &[OsString]) -> Option<String> {
    let word = words.first()?.to_string_lossy();
    (!word.starts_with('-')).then(|| {
        format!(
            "'{word}' is no command ({}); a host follows -c: {program} -c HOST",
            COMMANDS.join(", ")
        )
    })
}

/// Prints an error, or the help of a subcommand.
fn fail(error: &clap::Error) -> ExitCode {
    match error.print() {
        Ok(()) if !error.use_stderr() => ExitCode::SUCCESS,
        _ => ExitCode::from(USAGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        definition("iperf").debug_assert();
    }

    #[test]
    fn every_subcommand_is_named() {
        let definition = definition("iperf");
        let shown = definition
            .get_subcommands()
            .filter(|one| !one.is_hide_set());
        let names: Vec<&str> = shown.map(clap::Command::get_name).collect();
        assert_eq!(names, COMMANDS);
    }

    #[test]
    fn only_the_first_word_names_a_subcommand() {
        for line in [&["-c", "man"][..], &["-s", "man"], &["--", "man"], &[]] {
            let words: Vec<OsString> = line.iter().map(OsString::from).collect();
            assert!(run("iperf", &words).is_none(), "{line:?}");
        }
    }
}
