//! clap's errors in the words of getopt_long, which iperf3 prints and scripts look for.
//!
//! clap names the mistake and the option; the word as it was written comes from the command line.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::options::{OPTIONS, Spec, Takes};

/// Why a word of the command line is not an option. The texts are getopt's, without the program's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GetoptError {
    /// No long option begins like this.
    #[error("unrecognized option '{0}'")]
    Unrecognized(String),
    /// Several do.
    #[error("option '{word}' is ambiguous; possibilities: {}", quoted(.candidates))]
    Ambiguous {
        /// The word.
        word: String,
        /// The names that begin like this.
        candidates: Vec<&'static str>,
    },
    /// The option takes no value.
    #[error("option '{0}' doesn't allow an argument")]
    NoArgument(String),
    /// The long option lacks its value.
    #[error("option '--{0}' requires an argument")]
    LongArgument(&'static str),
    /// No option has this letter.
    #[error("invalid option -- '{0}'")]
    Invalid(char),
    /// The letter lacks its value.
    #[error("option requires an argument -- '{0}'")]
    ShortArgument(char),
}

impl GetoptError {
    /// Translates clap's error about a command line.
    pub(crate) fn translate(error: &Error, words: &[OsString]) -> Self {
        let option = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(option)) => option.as_str(),
            _ => "",
        };
        match error.kind() {
            ErrorKind::UnknownArgument => match option.strip_prefix("--") {
                Some(name) => unknown_name(name, words),
                None => Self::Invalid(option.chars().nth(1).unwrap_or('-')),
            },
            ErrorKind::TooManyValues => Self::NoArgument(option.to_owned()),
            // Only the last word can lack its value: any other takes the next word as its value.
            ErrorKind::InvalidValue => lacks_value(words),
            _ => Self::Unrecognized(option.to_owned()),
        }
    }
}

/// The option that clap takes an unknown one for.
pub(crate) fn similar(error: &Error) -> Option<String> {
    match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(option)) => Some(option.clone()),
        _ => None,
    }
}

/// The option whose value should have followed an equals sign, if this is one: `--zerocopy` in `--zerocopy msg`.
pub(crate) fn takes_value_after_equals(word: &str) -> bool {
    let takes = |spec: &Spec| matches!(spec.takes, Takes::Maybe(..));
    match word.strip_prefix("--") {
        Some(name) => matches!(candidates(name)[..], [name] if OPTIONS
            .iter()
            .any(|spec| spec.long.contains(&name) && takes(spec))),
        None => OPTIONS.iter().any(|spec| {
            spec.short.iter().any(|letter| word == format!("-{letter}")) && takes(spec)
        }),
    }
}

/// A long name that clap doesn't know, or one that is short for several.
fn unknown_name(name: &str, words: &[OsString]) -> GetoptError {
    let is_it = |word: &str| {
        let rest = word
            .strip_prefix("--")
            .and_then(|word| word.strip_prefix(name));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    let mut words = words.iter().map(|word| word.to_string_lossy());
    let word = match words.find(|word| is_it(word)) {
        Some(word) => word.into_owned(),
        None => format!("--{name}"),
    };
    let candidates = candidates(name);
    if candidates.is_empty() {
        GetoptError::Unrecognized(word)
    } else {
        GetoptError::Ambiguous { word, candidates }
    }
}

/// The last word is an option without its value.
fn lacks_value(words: &[OsString]) -> GetoptError {
    let word = words.last().map(|word| word.to_string_lossy());
    let word = word.unwrap_or_default();
    match word.strip_prefix("--") {
        Some(name) => {
            let full = candidates(name).first().copied();
            GetoptError::LongArgument(full.unwrap_or_default())
        }
        None => GetoptError::ShortArgument(word.chars().last().unwrap_or('-')),
    }
}

/// The long names that `name` may abbreviate: itself, or of each option the first one that begins like it.
fn candidates(name: &str) -> Vec<&'static str> {
    let of_each = |fits: &dyn Fn(&str) -> bool| -> Vec<&'static str> {
        let pick = |long: &[&'static str]| long.iter().copied().find(|long| fits(long));
        OPTIONS.iter().filter_map(|spec| pick(spec.long)).collect()
    };
    let exact = of_each(&|long| long == name);
    if exact.is_empty() {
        of_each(&|long| long.starts_with(name))
    } else {
        exact
    }
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'--{name}'")).collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use crate::args::Args;

    fn message(line: &str) -> String {
        let words: Vec<_> = line.split(' ').map(Into::into).collect();
        let error = Args::read(&words).error;
        error
            .unwrap_or_else(|| panic!("{line} is good"))
            .to_string()
    }

    #[test]
    fn each_mistake_has_getopts_words() {
        for (line, expected) in [
            ("--nosuch", "unrecognized option '--nosuch'"),
            ("--nosuch=5 -s", "unrecognized option '--nosuch=5'"),
            ("-c --nosuc --nosuch=5", "unrecognized option '--nosuch=5'"),
            (
                "--get-server=1",
                "option '--get-server-output' doesn't allow an argument",
            ),
            ("--json= -s", "option '--json' doesn't allow an argument"),
            ("--time", "option '--time' requires an argument"),
            ("-s --paral", "option '--parallel' requires an argument"),
            ("--bandw", "option '--bandwidth' requires an argument"),
            ("-x", "invalid option -- 'x'"),
            ("-Jx -s", "invalid option -- 'x'"),
            ("-u=1", "invalid option -- '='"),
            ("-?", "invalid option -- '?'"),
            ("-I", "option requires an argument -- 'I'"),
            ("-JRt", "option requires an argument -- 't'"),
        ] {
            assert_eq!(message(line), expected, "{line}");
        }
    }

    #[test]
    fn an_ambiguous_beginning_names_each_option_once() {
        // --bandwidth is --bitrate by another name, and not another possibility.
        assert_eq!(
            message("--b=1"),
            "option '--b=1' is ambiguous; possibilities: '--bind' '--bind-dev' '--bitrate' '--bytes' '--blockcount' \
             '--bidir' '--busy-poll'"
        );
        assert_eq!(
            message("--json-s"),
            "option '--json-s' is ambiguous; possibilities: '--json-stream' '--json-stream-full-output'"
        );
    }
}
