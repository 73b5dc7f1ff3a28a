//! The `iperf` program.

mod app;
mod command;
mod daemon;
mod exporter;
mod logging;
mod manager;
mod pidfile;
mod reload;
mod results;
mod serve;
mod service;
mod terminal;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use iperf_cli::{UsageError, parse, program_name};

fn main() -> ExitCode {
    let mut words = env::args_os();
    let program = program_name(words.next().as_deref());
    let words: Vec<OsString> = words.collect();
    if let Some(code) = command::run(&program, &words) {
        return code;
    }
    let hint = command::unknown(&program, &words);
    match parse(words) {
        Ok(invocation) => app::run(&program, invocation),
        Err(error) => {
            let error = if error.lacks_role() {
                error.with_hint(hint)
            } else {
                error
            };
            error.print(&program);
            ExitCode::from(UsageError::EXIT_CODE)
        }
    }
}
