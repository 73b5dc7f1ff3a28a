//! What getopt_long says about a word that it cannot read.
//!
//! clap knows that a word is bad; why is told here in getopt's words, from the same table of options.

use thiserror::Error;

use crate::options::{OPTIONS, Spec, Takes};

/// Why a word of the command line is no option. The texts are getopt's, without the program's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum GetoptError {
    /// No long option begins so.
    #[error("unrecognized option '{0}'")]
    Unrecognized(String),
    /// Several do.
    #[error("option '{word}' is ambiguous; possibilities: {}", quoted(.candidates))]
    Ambiguous {
        /// The word.
        word: String,
        /// The names that begin so.
        candidates: Vec<&'static str>,
    },
    /// The long option takes no value.
    #[error("option '--{0}' doesn't allow an argument")]
    NoArgument(&'static str),
    /// The long option lacks its value.
    #[error("option '--{0}' requires an argument")]
    LongArgument(&'static str),
    /// The letter is no option.
    #[error("invalid option -- '{0}'")]
    Invalid(char),
    /// The letter lacks its value.
    #[error("option requires an argument -- '{0}'")]
    ShortArgument(char),
}

impl GetoptError {
    /// Says what is wrong with the first word of a command line that could not be read.
    pub(crate) fn explain(word: &str) -> Self {
        match word.strip_prefix("--") {
            Some(long) => explain_long(word, long),
            None => explain_short(word),
        }
    }
}

fn explain_long(word: &str, text: &str) -> GetoptError {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    match candidates(name).as_slice() {
        [] => GetoptError::Unrecognized(word.to_owned()),
        [(spec, name)] => match (spec.takes, value) {
            (Takes::Nothing, Some(_)) => GetoptError::NoArgument(name),
            (Takes::Value(_), None) => GetoptError::LongArgument(name),
            _ => GetoptError::Unrecognized(word.to_owned()),
        },
        several => GetoptError::Ambiguous {
            word: word.to_owned(),
            candidates: several.iter().map(|(_, name)| *name).collect(),
        },
    }
}

/// The options that `name` may mean, each by the first of its names that fits: the one that is called so, or all
/// that begin so.
fn candidates(name: &str) -> Vec<(&'static Spec, &'static str)> {
    let fitting = |fits: &dyn Fn(&str) -> bool| -> Vec<(&'static Spec, &'static str)> {
        let pick = |spec: &'static Spec| {
            let name = spec.long.iter().find(|long| fits(long))?;
            Some((spec, *name))
        };
        OPTIONS.iter().filter_map(pick).collect()
    };
    let exact = fitting(&|long| long == name);
    if exact.is_empty() {
        fitting(&|long| long.starts_with(name))
    } else {
        exact
    }
}

/// The first letter of a bundle that is no option, or the option at its end that lacks its value.
fn explain_short(word: &str) -> GetoptError {
    let mut last = '-';
    for letter in word.chars().skip(1) {
        last = letter;
        match OPTIONS.iter().find(|spec| spec.short.contains(&letter)) {
            None => return GetoptError::Invalid(letter),
            Some(spec) if spec.takes != Takes::Nothing => {
                return GetoptError::ShortArgument(letter);
            }
            Some(_) => {}
        }
    }
    GetoptError::Invalid(last)
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'--{name}'")).collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_has_getopts_words() {
        for (word, message) in [
            ("--nosuch", "unrecognized option '--nosuch'"),
            ("--nosuch=5", "unrecognized option '--nosuch=5'"),
            (
                "--get-server=1",
                "option '--get-server-output' doesn't allow an argument",
            ),
            ("--time", "option '--time' requires an argument"),
            ("--bandw", "option '--bandwidth' requires an argument"),
            ("-x", "invalid option -- 'x'"),
            ("-Jx", "invalid option -- 'x'"),
            ("-u=1", "invalid option -- '='"),
            ("-?", "invalid option -- '?'"),
            ("-I", "option requires an argument -- 'I'"),
            ("-JRt", "option requires an argument -- 't'"),
        ] {
            assert_eq!(GetoptError::explain(word).to_string(), message);
        }
    }

    #[test]
    fn an_ambiguous_beginning_names_each_option_once() {
        // --bandwidth is --bitrate by another name, and no further possibility.
        assert_eq!(
            GetoptError::explain("--b=1").to_string(),
            "option '--b=1' is ambiguous; possibilities: '--bind' '--bind-dev' '--bitrate' '--bytes' '--blockcount' \
             '--bidir'"
        );
        assert_eq!(
            GetoptError::explain("--json-s").to_string(),
            "option '--json-s' is ambiguous; possibilities: '--json-stream' '--json-stream-full-output'"
        );
    }
}
