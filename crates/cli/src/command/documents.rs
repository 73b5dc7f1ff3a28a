//! `iperf completions SHELL` and `iperf man [COMMAND]`: documents generated from the definition of the command line.

use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use iperf_model::VERSION;

use super::{USAGE, definition};
use crate::terminal::print;

/// For tests and clients; subcommands have their own.
const EXIT_STATUS: &str = "0 after a successful test, for -h and -v, and when a signal ended the program; \
    1 after a failed test or an error on the command line. Subcommands exit with 2 after an error on their command \
    line.";

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Shell that reads the script
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(super) struct ManPage {
    /// Command to describe [the program itself]
    #[arg(value_name = "COMMAND", value_parser = super::COMMANDS)]
    command: Option<String>,
}

impl Completions {
    pub(super) fn run(&self, program: &str) -> ExitCode {
        finish(program, &self.script(program))
    }

    fn script(&self, program: &str) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut definition(program), program, &mut script);
        corrected(self.shell, script)
    }
}

/// What clap_complete's scripts get wrong about options that stand before a subcommand, or have names in common with
/// those of one: a text, and what to put in its place.
const CORRECTIONS: [(Shell, &str, &str); 2] = [
    // An option that still lacks its value is no subcommand: its values are offered.
    (
        Shell::Fish,
        "2>/dev/null\n    or return\n",
        "2>/dev/null\n    or return 0\n",
    ),
    // Behind a subcommand, `--format` is the subcommand's.
    (
        Shell::Zsh,
        "_arguments_options=(-s -S -C)",
        "_arguments_options=(-s -S -C -A '-*')",
    ),
];

/// The script with the corrections for its shell.
fn corrected(shell: Shell, script: Vec<u8>) -> Vec<u8> {
    let Ok(mut script) = String::from_utf8(script) else {
        return Vec::new();
    };
    for (_, wrong, right) in CORRECTIONS.iter().filter(|(of, ..)| *of == shell) {
        script = script.replacen(wrong, right, 1);
    }
    script.into_bytes()
}

impl ManPage {
    pub(super) fn run(&self, program: &str) -> ExitCode {
        match self.page(program) {
            Ok(page) => finish(program, &page),
            Err(error) => super::fail(&error),
        }
    }

    fn page(&self, program: &str) -> Result<Vec<u8>, clap::Error> {
        let mut command = definition(program)
            .after_help(None::<&str>)
            .subcommand_help_heading("COMMANDS")
            .mut_args(with_aliases);
        command.build();
        let Some(name) = &self.command else {
            return Ok(main_page(command)?);
        };
        match command.find_subcommand(name) {
            Some(found) => Ok(page_of_command(found.clone(), program)?),
            None => {
                Err(command.error(ErrorKind::InvalidSubcommand, format!("no command '{name}'")))
            }
        }
    }
}

/// Adds the other names of an option to its text; clap_mangen leaves them out.
fn with_aliases(arg: Arg) -> Arg {
    let names = arg.get_visible_aliases().unwrap_or_default();
    if names.is_empty() {
        return arg;
    }
    let names: Vec<String> = names.iter().map(|name| format!("--{name}")).collect();
    let text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{text} [alias: {}]", names.join(", ")))
}

fn page(mut command: Command) -> io::Result<Vec<u8>> {
    let about = command.get_about().cloned().unwrap_or_default();
    let description = command.get_long_about().cloned().unwrap_or(about.clone());
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let command = command
        .about(summary(&about.to_string()))
        .long_about(description)
        .override_usage(usage);
    let mut page = Vec::new();
    Man::new(command)
        // A date would make builds differ.
        .date(" ")
        .source(format!("iperf {VERSION}"))
        .manual("User Commands")
        .render(&mut page)?;
    Ok(tidy(&page))
}

/// A sentence as the section NAME has it: `whatis` prints it behind the name.
fn summary(about: &str) -> String {
    let about = match about.split_once(". ") {
        Some((first, _)) => first,
        None => about.trim_end_matches('.'),
    };
    // The program's own line describes, the others command.
    let about = about.replacen("Measures ", "Measure ", 1);
    let mut letters = about.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Leaves out line breaks beside empty lines, which clap_mangen puts around the values of an option, and mandoc skips.
fn tidy(page: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = page.split(|byte| *byte == b'\n').collect();
    let is_space = |line: Option<&&[u8]>| line.is_some_and(|line| line.is_empty());
    let kept = lines.iter().enumerate().filter(|(at, line)| {
        let before = at.checked_sub(1).and_then(|at| lines.get(at));
        **line != b".br" || !(is_space(before) || is_space(lines.get(at + 1)))
    });
    let kept: Vec<&[u8]> = kept.map(|(_, line)| *line).collect();
    kept.join(&b'\n')
}

/// The page of a subcommand ends with a reference to the program's.
fn page_of_command(command: Command, program: &str) -> io::Result<Vec<u8>> {
    let mut page = page(command)?;
    let mut end = Roff::new();
    end.control("SH", ["SEE ALSO"]);
    end.text([bold(program), roman("(1)")]);
    end.to_writer(&mut page)?;
    Ok(page)
}

/// The page of the program itself ends with notes, examples and exit codes.
fn main_page(command: Command) -> io::Result<Vec<u8>> {
    let program = command.get_name().to_owned();
    let mut page = page(command)?;
    let mut end = Roff::new();
    end.control("SH", ["NOTES"]);
    end.text([roman(iperf_cli::NOTES)]);
    end.control("SH", ["EXAMPLES"]);
    for (options, effect) in iperf_cli::EXAMPLES {
        end.control("TP", []);
        end.text([bold(format!("{program} {options}"))]);
        end.text([roman(*effect)]);
    }
    end.control("SH", ["EXIT STATUS"]);
    end.text([roman(EXIT_STATUS)]);
    end.to_writer(&mut page)?;
    Ok(page)
}

fn finish(program: &str, document: &[u8]) -> ExitCode {
    if print(program, document) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(USAGE)
    }
}
