//! One client against one server, each any program, and the outcome.

use std::fmt;
use std::mem;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::json;
use crate::peer::Peer;
use crate::port::Port;
use crate::problems::Problems;
use crate::process::{Finished, HANG, Running, wait_for};
use crate::procfs;
use crate::proxy::{Faults, Proxy};
use crate::server::Server;

/// How long a server may take to notice that its client failed, or to be sure that there was none.
const LOST: Duration = Duration::from_secs(10);

/// How long a server of many tests may take to notice that a client has ended.
const NOTICED: Duration = Duration::from_secs(5);

/// A client and a server to be run against each other once.
///
/// In arguments `{dir}` is replaced by a new directory that both share, and `{cport}` by the first of many free ports.
#[derive(Clone, Debug)]
pub struct Pair {
    client: Peer,
    server: Peer,
    client_args: Vec<String>,
    server_args: Vec<String>,
    host: String,
    prepared: Vec<(String, Vec<u8>)>,
}

/// One row of a table of tests between two programs, with what the test expects of it.
#[derive(Clone, Debug)]
pub struct Case<T = ()> {
    /// The client's program.
    pub client: Peer,
    /// The server's program.
    pub server: Peer,
    /// The client's arguments.
    pub args: String,
    /// What is expected.
    pub expected: T,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The client's end.
    pub client: Finished,
    /// The server's end.
    pub server: Finished,
    /// The directory both shared.
    pub dir: TempDir,
    /// The first port of `--cport {cport}`.
    pub cport: u16,
}

/// Splits a command line at blanks; single quotes keep them.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// A test over TCP between two ends of this program, both of which write a document.
pub fn tcp_pair(args: &str) -> Pair {
    Pair::new(Peer::Ours, Peer::Ours)
        .client_args("-J")
        .client_args(args)
        .server_args("-J")
}

/// The same over UDP.
pub fn udp_pair(args: &str) -> Pair {
    tcp_pair("-u").client_args(args)
}

/// What a test between two programs is called.
pub fn title(client: Peer, server: Peer, args: &str) -> String {
    format!("{client} client, {server} server: {args}")
}

impl<T> Case<T> {
    /// A test between two programs.
    pub fn new(client: Peer, server: Peer, args: &str, expected: T) -> Self {
        Self {
            client,
            server,
            args: args.to_owned(),
            expected,
        }
    }

    /// A test between two ends of this program.
    pub fn ours(args: &str, expected: T) -> Self {
        Self::new(Peer::Ours, Peer::Ours, args, expected)
    }

    /// The two programs with the arguments of the client.
    pub fn pair(&self) -> Pair {
        Pair::new(self.client, self.server).client_args(&self.args)
    }
}

impl<T: fmt::Debug> fmt::Display for Case<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&title(self.client, self.server, &self.args))?;
        if mem::size_of::<T>() > 0 {
            write!(f, ", {:?}", self.expected)?;
        }
        Ok(())
    }
}

impl Pair {
    /// `client` against `server -1`, on 127.0.0.1, without further arguments.
    pub fn new(client: Peer, server: Peer) -> Self {
        Self {
            client,
            server,
            client_args: Vec::new(),
            server_args: vec!["-1".to_owned()],
            host: "127.0.0.1".to_owned(),
            prepared: Vec::new(),
        }
    }

    /// Adds arguments of the client.
    pub fn client_args(mut self, line: &str) -> Self {
        self.client_args.extend(words(line));
        self
    }

    /// Adds arguments of the server.
    pub fn server_args(mut self, line: &str) -> Self {
        self.server_args.extend(words(line));
        self
    }

    /// The client connects to this host.
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// A file that lies in the shared directory before the run.
    pub fn file(mut self, name: &str, content: Vec<u8>) -> Self {
        self.prepared.push((name.to_owned(), content));
        self
    }

    /// Runs both to their ends.
    pub fn run(&self) -> Outcome {
        self.run_as(|command| command, |command| command)
    }

    /// Runs both to their ends, each command changed first, for example to run in a namespace.
    pub fn run_as(
        &self,
        client: impl FnOnce(Command) -> Command,
        server: impl FnOnce(Command) -> Command,
    ) -> Outcome {
        self.run_with(server, |port| (port, ()), client).0
    }

    /// Runs both to their ends with a proxy in between, and returns its report, too.
    pub fn run_through<F: Faults>(
        &self,
        proxy: impl FnOnce(u16) -> Proxy<F>,
    ) -> (Outcome, F::Report) {
        let between = |port| {
            let proxy = proxy(port);
            (proxy.port(), proxy)
        };
        let (outcome, proxy) = self.run_with(|command| command, between, |command| command);
        (outcome, proxy.finish())
    }

    /// `between` is called when the server listens, and returns the port that the client is to connect to.
    fn run_with<T>(
        &self,
        server: impl FnOnce(Command) -> Command,
        between: impl FnOnce(u16) -> (u16, T),
        client: impl FnOnce(Command) -> Command,
    ) -> (Outcome, T) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (name, content) in &self.prepared {
            std::fs::write(dir.path().join(name), content).expect("a file in it");
        }
        let cport = Port::reserve_run(8);
        let fill = |args: &[String]| -> Vec<String> {
            let place = dir.path().to_string_lossy();
            args.iter()
                .map(|word| {
                    word.replace("{dir}", &place)
                        .replace("{cport}", &cport.number().to_string())
                })
                .collect()
        };
        let server_args = fill(&self.server_args);
        let server_args: Vec<&str> = server_args.iter().map(String::as_str).collect();
        let server = Server::start_with(self.server, &server_args, |mut command| {
            command.current_dir(dir.path());
            server(command)
        });

        let (port, kept) = between(server.port());
        let mut command = self.client.command();
        command
            .args(["-c", &self.host, "-p", &port.to_string()])
            .args(fill(&self.client_args))
            .current_dir(dir.path());
        let client = Running::start(client(command)).finish(HANG);
        // A server that never saw its client would wait for ever.
        let patience = if client.succeeded() { HANG } else { LOST };
        let outcome = Outcome {
            client,
            server: server.finish(patience),
            cport: cport.number(),
            dir,
        };
        (outcome, kept)
    }
}

impl Outcome {
    /// The client's document.
    pub fn client_json(&self) -> Result<Value, String> {
        json::parse(&self.client.stdout)
            .map_err(|e| format!("the client's output is no JSON document: {e}"))
    }

    /// The server's document.
    pub fn server_json(&self) -> Result<Value, String> {
        json::parse(&self.server.stdout)
            .map_err(|e| format!("the server's output is no JSON document: {e}"))
    }

    /// Both documents; null where there is none.
    pub fn documents(&self) -> (Value, Value) {
        (self.client.document(), self.server.document())
    }

    /// Both ends must have succeeded.
    pub fn check_success(&self, problems: &mut Problems) {
        for (name, end) in [("client", &self.client), ("server", &self.server)] {
            problems.holds(format!("the {name} succeeds"), end.succeeded());
        }
    }

    /// A file of the shared directory.
    pub fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap_or_default()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.client, self.server)
    }
}

/// Runs a client of `peer` to its end.
///
/// A client ends before its server has noticed, which on a busy machine takes a while: the next client would learn that the
/// server is busy. So this waits, a little, until the server has closed its connections.
pub fn run_client(peer: Peer, port: u16, args: &str) -> Finished {
    let end = start_client(peer, port, args).finish(HANG);
    wait_for(NOTICED, || {
        (!procfs::waits_to_be_closed(port)).then_some(())
    });
    end
}

/// Starts a client of `peer` towards a port on 127.0.0.1.
pub fn start_client(peer: Peer, port: u16, args: &str) -> Running {
    let mut command = peer.command();
    command
        .args(["-c", "127.0.0.1", "-p", &port.to_string()])
        .args(words(args));
    Running::start(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks() {
        assert_eq!(words("-T 'my title' -t 1"), ["-T", "my title", "-t", "1"]);
    }
}
