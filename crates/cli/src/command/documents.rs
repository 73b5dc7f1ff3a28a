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
use crate::app::print;

/// For tests and clients; subcommands have their own.
const EXIT_STATUS: &str = "0 after a successful test, for -h and -v, and when a signal ended the program; \
    1 after a failed test or an error on the command line. Subcommands exit with 2 after an error on their command \
    line.";

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell that reads the script
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(super) struct ManPage {
    /// The subcommand to describe [the program itself]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl Completions {
    pub(super) fn run(&self, program: &str) -> ExitCode {
        finish(program, &self.script(program))
    }

    fn script(&self, program: &str) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut definition(program), program, &mut script);
        script
    }
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
        if let Some(found) = command.find_subcommand(name) {
            return Ok(page(found.clone())?);
        }
        let message = format!("there is no subcommand '{name}'");
        Err(command.error(ErrorKind::InvalidSubcommand, message))
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

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command)
        // A date would make builds differ.
        .date(" ")
        .source(format!("iperf {VERSION}"))
        .manual("User Commands")
        .render(&mut page)?;
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
