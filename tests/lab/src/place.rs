//! Where a program runs: on this machine or in a guest. A test that is written with places runs in all of them.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Process, Vm};
use iperf_harness::pair::words;
use iperf_harness::{Finished, Peer, Running};

/// Where a program runs.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// On this machine.
    Here,
    /// In a guest.
    In(&'a Vm),
}

/// A program that was started in some place. Dropping it kills it.
#[derive(Debug)]
pub enum Program {
    /// On this machine.
    Here(Running),
    /// In a guest.
    There(Process),
}

impl Place<'_> {
    /// Starts a peer with these arguments; single quotes keep blanks.
    pub fn start(self, peer: Peer, args: &str) -> Program {
        match self {
            Self::Here => {
                let mut command: Command = peer.command();
                command.args(words(args));
                Program::Here(Running::start(command))
            }
            Self::In(vm) => {
                let name = match peer {
                    Peer::Ours => "iperf".to_owned(),
                    real => format!("iperf3-{real}"),
                };
                Program::There(vm.start(&format!("exec {name} {args}")))
            }
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("host"),
            Self::In(vm) => write!(f, "guest {}", vm.kernel()),
        }
    }
}

impl Program {
    /// What it wrote to standard output up to now.
    pub fn stdout_so_far(&self) -> String {
        match self {
            Self::Here(running) => running.stdout_so_far(),
            Self::There(process) => process.stdout_so_far(),
        }
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        match self {
            Self::Here(running) => running.is_alive(),
            Self::There(process) => process.is_alive(),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        match self {
            Self::Here(running) => running.signal(signal),
            Self::There(process) => process.signal(signal),
        }
    }

    /// Waits for the end; kills it when `limit` has passed since now.
    pub fn finish(self, limit: Duration) -> Finished {
        match self {
            Self::Here(running) => running.finish(limit),
            Self::There(process) => process.finish(limit),
        }
    }
}
