//! `measure PROGRAM CASE SECONDS`: runs a case of the benchmark once, in a guest, and writes what it came to as JSON.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool of the benchmark prints for those who run it"
)]

use std::env;
use std::process::ExitCode;

use iperf_bench::guest;

fn main() -> ExitCode {
    match guest::measure(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(run) => {
            println!("{run}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("measure: {error}");
            ExitCode::FAILURE
        }
    }
}
