//! The file of `--options-file`: options of a server that may change while it runs, one per line.
//!
//! ```text
//! # up to 16 tests, 2 of each client
//! --tests 16
//! --tests-per-client 2
//! ```
//!
//! A line is read like the option on the command line and overrides it there. Whatever can't change while a server runs
//! is refused, so that everything in the file applies after a reload.

use std::ffi::OsStr;
use std::path::Path;

use iperf_model::reason;

use crate::error::ParameterError;
use crate::options::{OPTIONS, Opt, Server, Spec, Takes};
use crate::resolve::server::ServerDraft;
use crate::value::{Notes, Value};

/// What a file may hold.
const CHANGEABLE: [Server; 8] = [
    Server::Tests,
    Server::TestsPerClient,
    Server::BitrateLimit,
    Server::ClientBitrateLimit,
    Server::MaxDuration,
    Server::PrivateKey,
    Server::Users,
    Server::Skew,
];

/// Applies the options of the file.
pub(super) fn read(
    path: &Path,
    draft: &mut ServerDraft,
    notes: &Notes,
) -> Result<(), ParameterError> {
    let error = |line, problem| ParameterError::OptionsFile {
        path: path.to_owned(),
        line,
        problem,
    };
    let bytes = iperf_auth::read(path).map_err(|source| error(0, reason(&source)))?;
    let text = str::from_utf8(&bytes).map_err(|_| error(0, "it is not UTF-8".to_owned()))?;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        apply(line, draft, notes).map_err(|problem| error(number, problem))?;
    }
    Ok(())
}

/// Applies one line; the error describes what is wrong with it.
fn apply(line: &str, draft: &mut ServerDraft, notes: &Notes) -> Result<(), String> {
    let end = line.find(|c: char| c == '=' || c.is_whitespace());
    let (name, value) = line.split_at(end.unwrap_or(line.len()));
    let Some((spec, option)) = find(name) else {
        let allowed: Vec<_> = CHANGEABLE.iter().filter_map(|o| long_name(*o)).collect();
        return Err(format!(
            "'{name}' is none of the options that a file may hold: {}",
            allowed.join(", ")
        ));
    };
    let value = value.strip_prefix('=').unwrap_or(value).trim();
    if value.is_empty() && spec.takes != Takes::Nothing {
        return Err(format!("{name} needs a value"));
    }
    let value = Value::new(spec, OsStr::new(value), notes);
    draft
        .apply(option, &value)
        .map_err(|error| error.to_string())
}

fn find(name: &str) -> Option<(&'static Spec, Server)> {
    let long = name.strip_prefix("--")?;
    OPTIONS.iter().find_map(|spec| match spec.opt {
        Opt::Server(option) if CHANGEABLE.contains(&option) && spec.long.contains(&long) => {
            Some((spec, option))
        }
        _ => None,
    })
}

fn long_name(option: Server) -> Option<String> {
    let spec = OPTIONS
        .iter()
        .find(|spec| spec.opt == Opt::Server(option))?;
    spec.long.first().map(|name| format!("--{name}"))
}
