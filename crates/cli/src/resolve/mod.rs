//! Turns options into a job, or into an error.
//!
//! As in iperf3 there are two steps, and the first mistake is reported:
//!
//! 1. Options one by one, in the order of the command line: each value by itself; `-h` and `-v` take effect at once.
//! 2. Options together: those that do not fit the role, logins, the receive timeout, files, the
//!    size of blocks, the end of the test, and last whether there is a role at all.

mod client;
mod endpoint;
mod exchange;
mod hints;
mod local;
mod options_file;
mod probe;
mod server;
mod zerocopy;

use std::ffi::OsString;

use iperf_model::Endpoint;
use iperf_proto::Code;

use crate::args::Args;
use crate::error::{ParameterError, UsageError};
use crate::job::{Invocation, Job, ProcessOptions};
use crate::options::{Local, Opt, Role};
use crate::value::{Notes, Value};

use client::ClientDraft;
use local::LocalDraft;
use server::ServerDraft;

/// Turns the options of a command line into a job.
pub(crate) fn resolve(args: Args, words: &[OsString]) -> Result<Invocation, UsageError> {
    let mut draft = Draft::default();
    let notes = Notes::default();
    for given in &args.given {
        let value = Value::new(given.spec, &given.value, &notes);
        match given.spec.opt {
            Opt::Role(Role::Help) => return Ok(Invocation::of(Job::Help)),
            Opt::Role(Role::Version) => return Ok(Invocation::of(Job::Version)),
            Opt::Role(Role::ZerocopyCheck) => {
                let mut invocation = Invocation::of(Job::ZerocopyCheck);
                // Before or behind it.
                let mut options = args.given.iter().map(|given| given.spec.opt);
                invocation.output.json = options.any(|it| it == Opt::Local(Local::Json));
                return Ok(invocation);
            }
            option => draft
                .apply(option, &value)
                .map_err(|error| UsageError::about(error, given))?,
        }
    }
    if let Some(error) = args.error {
        let hint = args.similar.map(|option| format!("did you mean {option}?"));
        return Err(UsageError::from(error).with_hint(hint));
    }
    let with_hint = |error| {
        let hint = hints::together(&error, &args.given);
        UsageError::from(error).with_hint(hint)
    };
    if draft.role == Some(Chosen::Server)
        && let Some(path) = draft.server.process.options_file.clone()
    {
        options_file::read(&path, &mut draft.server, &notes).map_err(with_hint)?;
    }
    let warnings = [notes.into_warnings(), hints::stray(&args.stray, words)].concat();
    draft.finish(warnings).map_err(with_hint)
}

/// The role that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    Client,
    Server,
    Loopback,
}

/// A command line as far as it has been read.
#[derive(Debug, Default)]
struct Draft {
    role: Option<Chosen>,
    host: String,
    server_options: bool,
    client_options: bool,
    local: LocalDraft,
    client: ClientDraft,
    server: ServerDraft,
}

impl Draft {
    fn apply(&mut self, option: Opt, value: &Value<'_>) -> Result<(), ParameterError> {
        match option {
            Opt::Role(Role::Server) => self.set_role(Chosen::Server),
            Opt::Role(Role::Loopback) => self.set_role(Chosen::Loopback),
            Opt::Role(Role::Client) => {
                self.set_role(Chosen::Client)?;
                self.host = self.local.host(value)?;
                Ok(())
            }
            // These end the command line.
            Opt::Role(Role::Help | Role::Version | Role::ZerocopyCheck) => Ok(()),
            Opt::Local(option) => self.local.apply(option, value),
            Opt::Server(option) => {
                self.server_options = true;
                self.server.apply(option, value)
            }
            Opt::Client(option) => {
                self.client_options = true;
                self.client.apply(option, value)
            }
        }
    }

    fn set_role(&mut self, role: Chosen) -> Result<(), ParameterError> {
        match self.role.replace(role) {
            Some(before) if before != role => {
                if before == Chosen::Loopback || role == Chosen::Loopback {
                    Err(ParameterError::LoopbackAndRole)
                } else {
                    Err(Code::BOTH_ROLES.into())
                }
            }
            _ => Ok(()),
        }
    }

    fn finish(mut self, notes: Vec<String>) -> Result<Invocation, ParameterError> {
        let is_server = self.role == Some(Chosen::Server);
        let is_client = matches!(self.role, Some(Chosen::Client | Chosen::Loopback));
        if is_client && self.server_options {
            return Err(Code::SERVER_ONLY.into());
        }
        if is_server && (self.client_options || self.local.server_affinity.is_some()) {
            return Err(Code::CLIENT_ONLY.into());
        }
        let credentials = if is_client {
            self.client.credentials(self.local.pkcs1)?
        } else {
            None
        };
        let auth = if is_server {
            self.server.auth(self.local.pkcs1)?
        } else {
            None
        };
        if is_client {
            self.client.check_against(&self.local)?;
        }
        let endpoint = match self.role {
            Some(Chosen::Client) => Some(endpoint::client(
                self.host,
                self.local.vsock,
                self.local.port(),
            )?),
            Some(Chosen::Loopback) => Some(self.local.loopback()?),
            Some(Chosen::Server) | None => None,
        };
        let carrier = endpoint.as_ref().and_then(Endpoint::carrier);
        self.client
            .set_transport(carrier.as_ref(), self.local.mptcp)?;
        self.client.set_exchange(&self.local)?;
        self.client.set_zerocopy(&self.local)?;
        self.client.set_block()?;
        self.client.set_limit(&self.local)?;
        let Some(role) = self.role else {
            return Err(Code::NO_ROLE.into());
        };

        let warnings = [notes, self.local.warnings()].concat();
        let notices = self.client.notices();
        let mut output = self.local.output.clone();
        output.copies = self.client.asks_about_copies();
        let mut process = self.local.process.clone();
        let job = match (role, endpoint) {
            (Chosen::Client, Some(endpoint)) => {
                Job::Client(self.client.finish(endpoint, self.local, credentials))
            }
            (Chosen::Loopback, Some(endpoint)) => {
                Job::Loopback(self.client.finish(endpoint, self.local, credentials))
            }
            _ => {
                process = ProcessOptions {
                    pidfile: process.pidfile,
                    ..self.server.process.clone()
                };
                Job::Server(self.server.finish(self.local, auth)?)
            }
        };
        Ok(Invocation {
            job,
            output,
            process,
            warnings,
            notices,
        })
    }
}

#[cfg(test)]
mod tests;
