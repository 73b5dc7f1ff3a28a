//! The `iperf` program.

mod app;
mod daemon;
mod logging;
mod pidfile;
mod results;

use std::env;
use std::process::ExitCode;

use iperf_cli::{UsageError, parse, program_name};

fn main() -> ExitCode {
    let mut words = env::args_os();
    let program = program_name(words.next().as_deref());
    let words: Vec<_> = words.collect();
    if results::is_asked_for(words.first()) {
        return results::run(&program, &words);
    }
    match parse(&program, words) {
        Ok(invocation) => app::run(&program, invocation),
        Err(error) => {
            error.print(&program);
            ExitCode::from(UsageError::EXIT_CODE)
        }
    }
}
