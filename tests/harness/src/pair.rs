//! One client against one server, each any program, and all that came of it.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::peer::Peer;
use crate::port::Port;
use crate::process::{Finished, Running};
use crate::server::Server;

/// A client and a server to be run against each other once.
///
/// In arguments `{dir}` stands for a fresh directory that both share, and `{cport}` for the first of many free
/// ports.
#[derive(Clone, Debug)]
pub struct Pair {
    client: Peer,
    server: Peer,
    client_args: Vec<String>,
    server_args: Vec<String>,
    host: String,
    limit: Duration,
    prepared: Vec<(String, Vec<u8>)>,
}

/// What a run came to.
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

/// What a test between two programs is called.
pub fn title(client: Peer, server: Peer, args: &str) -> String {
    format!("{client} client, {server} server: {args}")
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
            limit: Duration::from_secs(30),
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
        let here = |mut command: Command| {
            command.current_dir(dir.path());
            command
        };
        let server_args = fill(&self.server_args);
        let server_args: Vec<&str> = server_args.iter().map(String::as_str).collect();
        let server = Server::start_with(self.server, &server_args, here);

        let mut command = self.client.command();
        command
            .args(["-c", &self.host, "-p", &server.port().to_string()])
            .args(fill(&self.client_args));
        let client = Running::start(here(command)).finish(self.limit);
        // A server that never saw its client would wait for ever.
        let patience = if client.succeeded() { 10 } else { 2 };
        let server = server.finish(Duration::from_secs(patience));
        Outcome {
            client,
            server,
            cport: cport.number(),
            dir,
        }
    }
}

impl Outcome {
    /// The client's document.
    pub fn client_json(&self) -> Result<Value, String> {
        serde_json::from_str(&self.client.stdout)
            .map_err(|e| format!("the client's output is no JSON document: {e}"))
    }

    /// The server's document.
    pub fn server_json(&self) -> Result<Value, String> {
        serde_json::from_str(&self.server.stdout)
            .map_err(|e| format!("the server's output is no JSON document: {e}"))
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
