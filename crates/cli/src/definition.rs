//! The definition of the command line for clap, made from the table of options.

use std::ffi::{OsStr, OsString};

use clap::builder::{OsStringValueParser, PossibleValue, TypedValueParser};
use clap::error::Error;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};

use crate::options::{OPTIONS, Spec, Takes};
use crate::usage;

/// The ID of the argument that takes the words that are not options.
const WORDS: &str = "words";

/// Columns of the help on a wide terminal.
const WIDTH: usize = 100;

/// The command line without subcommands, as help, man page and completions need it. `program` is the name to show.
pub fn command(program: &str) -> Command {
    table(program)
        .about(usage::ABOUT)
        .override_usage(usage::forms(program))
        .subcommand_help_heading("Commands")
        .after_help(usage::after_help(program))
        .max_term_width(WIDTH)
}

/// The options alone and the words beside them, as the parser needs them.
pub(crate) fn options(program: &str) -> Command {
    let words = Arg::new(WORDS)
        .action(ArgAction::Append)
        .num_args(0..)
        .value_parser(OsStringValueParser::new());
    table(program).arg(words)
}

/// The options, as a command that knows no other words.
fn table(program: &str) -> Command {
    Command::new(program.to_owned())
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .infer_long_args(true)
        .args(OPTIONS.iter().map(argument))
}

fn argument(spec: &Spec) -> Arg {
    let arg = Arg::new(spec.id)
        // Flags append too: only then does clap record the position of each one.
        .action(ArgAction::Append)
        .visible_aliases(spec.long.iter().skip(1).copied())
        .help_heading(spec.heading)
        .help(spec.help);
    let arg = match spec.short {
        [letter, ..] => arg.short(*letter),
        [] => arg,
    };
    let arg = match spec.long {
        [name, ..] => arg.long(*name),
        [] => arg,
    };
    match spec.takes {
        Takes::Nothing => arg
            .num_args(0)
            .value_parser(OsStringValueParser::new())
            .default_missing_value(""),
        Takes::Value(name) => arg
            .num_args(1)
            .allow_hyphen_values(true)
            .value_name(name)
            .value_hint(hint(name))
            .value_parser(Text(spec.words))
            .hide_possible_values(true),
        Takes::Maybe(name, missing) => arg
            .num_args(0..=1)
            .require_equals(true)
            .value_name(name)
            .value_hint(hint(name))
            .value_parser(Text(spec.words))
            .hide_possible_values(true)
            .default_missing_value(missing),
    }
}

/// The words that belong to no option.
pub(crate) fn stray(matches: &ArgMatches) -> Vec<OsString> {
    let words = matches.get_many::<OsString>(WORDS).into_iter().flatten();
    words.cloned().collect()
}

/// What a shell can complete for a value with this name.
fn hint(name: &str) -> ValueHint {
    match name {
        "FILE" => ValueHint::FilePath,
        "HOST" | "HOST[%DEV]" => ValueHint::Hostname,
        _ => ValueHint::Other,
    }
}

/// Takes any text, and knows words to offer.
///
/// What a value means is found out later ([`Value`](crate::value::Value)): values are read as iperf3 reads them, one
/// after the other, with warnings, and the first mistake of the whole command line counts.
#[derive(Clone)]
struct Text(&'static [&'static str]);

impl TypedValueParser for Text {
    type Value = OsString;

    fn parse_ref(&self, _: &Command, _: Option<&Arg>, value: &OsStr) -> Result<Self::Value, Error> {
        Ok(value.to_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words = self.0.iter().map(PossibleValue::new);
        (!self.0.is_empty()).then(|| Box::new(words) as Box<_>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        command("iperf3").debug_assert();
    }

    #[test]
    fn the_help_fits_its_width_and_shows_the_name_of_the_program() {
        let help = command("iperf3").render_help().to_string();
        assert!(
            help.contains("Usage: iperf3 -s [options]\n       iperf3 -c HOST"),
            "{help}"
        );
        assert!(help.lines().all(|line| line.len() <= WIDTH), "{help}");
    }
}
