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
mod local;
mod options_file;
mod probe;
mod server;
mod zerocopy;

use iperf_model::Endpoint;
use iperf_proto::Code;

use crate::args::Args;
use crate::error::{ParameterError, UsageError};
use crate::job::{Invocation, Job};
use crate::options::{Opt, Role};
use crate::value::{Notes, Value};

use client::ClientDraft;
use local::LocalDraft;
use server::ServerDraft;

/// Turns the options of a command line into a job.
pub(crate) fn resolve(args: Args) -> Result<Invocation, UsageError> {
    let mut draft = Draft::default();
    let notes = Notes::default();
    for given in &args.given {
        let value = Value::new(given.spec, &given.value, &notes);
        match given.spec.opt {
            Opt::Role(Role::Help) => return Ok(Invocation::of(Job::Help)),
            Opt::Role(Role::Version) => return Ok(Invocation::of(Job::Version)),
            Opt::Role(Role::ZerocopyCheck) => return Ok(Invocation::of(Job::ZerocopyCheck)),
            Opt::Role(Role::Server) => draft.set_role(Chosen::Server)?,
            Opt::Role(Role::Loopback) => draft.set_role(Chosen::Loopback)?,
            Opt::Role(Role::Client) => {
                draft.set_role(Chosen::Client)?;
                draft.host = draft.local.host(&value)?;
            }
            Opt::Local(option) => draft.local.apply(option, &value)?,
            Opt::Server(option) => {
                draft.server_options = true;
                draft.server.apply(option, &value)?;
            }
            Opt::Client(option) => {
                draft.client_options = true;
                draft.client.apply(option, &value)?;
            }
        }
    }
    if let Some(error) = args.error {
        return Err(error.into());
    }
    if draft.role == Some(Chosen::Server)
        && let Some(path) = draft.server.options_file.clone()
    {
        options_file::read(&path, &mut draft.server, &notes)?;
    }
    Ok(draft.finish(notes.into_warnings())?)
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
                process.daemon = self.server.daemon;
                process.metrics.clone_from(&self.server.metrics);
                process.log_json = self.server.log_json;
                process.drain = self.server.drain;
                process.options_file.clone_from(&self.server.options_file);
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
