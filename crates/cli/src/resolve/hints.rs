//! What iperf3's messages leave out: which options a mistake is about, and words that no option takes.

use std::ffi::OsString;

use iperf_proto::Code;

use crate::args::Given;
use crate::error::ParameterError;
use crate::getopt::takes_value_after_equals;
use crate::options::{Local, Opt};

/// The line below the message of a mistake that only all options together show.
pub(super) fn together(error: &ParameterError, given: &[Given]) -> Option<String> {
    let invalid = |name: &str| {
        let last = given.iter().rfind(|given| given.spec.long.contains(&name));
        last.map(Given::invalid)
    };
    let code = match error {
        ParameterError::Known(code) => *code,
        ParameterError::Block(_) => return invalid("length"),
        ParameterError::OptionsFile { .. } => return invalid("options-file"),
        _ => return None,
    };
    match code {
        Code::SERVER_ONLY => names(given, |option| matches!(option, Opt::Server(_)))
            .map(|names| format!("only a server (-s) takes {names}")),
        Code::CLIENT_ONLY => names(given, |option| matches!(option, Opt::Client(_)))
            .or_else(|| names(given, |option| option == Opt::Local(Local::Affinity)))
            .map(|names| format!("only a client (-c) takes {names}")),
        Code::BLOCK_SIZE | Code::UDP_BLOCK_SIZE => invalid("length"),
        Code::PORT => invalid("port"),
        Code::RCV_TIMEOUT_SENDER => invalid("rcv-timeout"),
        Code::USERS_FILE => invalid("authorized-users-path"),
        Code::CLIENT_AUTH => Some(
            "a login takes --username, --rsa-public-key-path and a password, from IPERF3_PASSWORD or the terminal"
                .to_owned(),
        ),
        Code::SERVER_AUTH => {
            Some("logins take both --rsa-private-key-path and --authorized-users-path".to_owned())
        }
        _ => None,
    }
}

/// The names of the options that were given and are of a kind, each once.
fn names(given: &[Given], of_kind: impl Fn(Opt) -> bool) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for given in given.iter().filter(|given| of_kind(given.spec.opt)) {
        let name = given.spec.name();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then(|| names.join(", "))
}

/// A warning for each word that belongs to no option. iperf3 ignores them silently; most are values that lack their
/// equals sign, as in `--zerocopy msg`.
pub(super) fn stray(stray: &[OsString], words: &[OsString]) -> Vec<String> {
    let before = |word: &OsString| {
        let at = words.iter().rposition(|other| other == word)?;
        words.get(at.checked_sub(1)?)?.to_str()
    };
    let warning = |word: &OsString| {
        let text = word.to_string_lossy();
        match before(word).filter(|option| takes_value_after_equals(option)) {
            Some(option) => format!(
                "'{text}' is ignored: a value of {option} follows an equals sign, {option}={text}"
            ),
            None => format!("'{text}' is ignored: it belongs to no option"),
        }
    };
    stray.iter().map(warning).collect()
}
