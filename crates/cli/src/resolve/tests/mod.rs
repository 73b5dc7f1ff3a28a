//! Command lines and what they mean.

mod alone;
mod together;
mod zerocopy;

use std::ffi::OsString;

use iperf_model::{ClientConfig, ServerConfig, TestConfig};

use crate::job::{Invocation, Job};
use crate::parse;

fn read(line: &str) -> Result<Invocation, String> {
    parse(line.split_whitespace().map(OsString::from)).map_err(|e| e.to_string())
}

fn invocation(line: &str) -> Invocation {
    read(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn client(line: &str) -> ClientConfig {
    match invocation(&format!("-c host {line}")).job {
        Job::Client(config) => config,
        job => panic!("{line}: {job:?}"),
    }
}

fn test(line: &str) -> TestConfig {
    client(line).test
}

fn server(line: &str) -> ServerConfig {
    match invocation(&format!("-s {line}")).job {
        Job::Server(config) => config,
        job => panic!("{line}: {job:?}"),
    }
}

/// The text of a parameter error.
fn refused(line: &str) -> String {
    match read(line) {
        Ok(invocation) => panic!("{line}: {invocation:?}"),
        Err(message) => message
            .strip_prefix("parameter error - ")
            .unwrap_or_else(|| panic!("{line}: {message}"))
            .to_owned(),
    }
}
