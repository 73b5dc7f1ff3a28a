//! A server process that listens.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::peer::Peer;
use crate::port::Port;
use crate::process::{Finished, HANG, Running, wait_for};
use crate::{json, procfs};

/// A started server, its port reserved as long as it is used.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub process: Running,
    peer: Peer,
    port: Port,
}

impl Server {
    /// Starts `peer -s -p PORT args…` and waits until it listens.
    pub fn start(peer: Peer, args: &[&str]) -> Self {
        Self::start_with(peer, args, |command| command)
    }

    /// Starts a server after changing its command, for example to run in another directory.
    pub fn start_with(peer: Peer, args: &[&str], change: impl FnOnce(Command) -> Command) -> Self {
        let port = Port::reserve();
        let mut command = peer.command();
        command
            .args(["-s", "-p", &port.number().to_string()])
            .args(args);
        let mut process = Running::start(change(command));
        let ready = wait_for(HANG, || {
            let up = procfs::listens(process.id(), port.number());
            (up || !process.is_alive()).then_some(up)
        });
        if ready != Some(true) {
            let end = process.finish(Duration::ZERO);
            panic!(
                "a server of {peer} does not listen on port {}:\n{end}",
                port.number()
            );
        }
        Self {
            process,
            peer,
            port,
        }
    }

    /// The program.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until a server of several tests at a time (`--tests`) reports a stream of this test.
    pub fn wait_for_test(&self, number: u32) {
        self.wait_for_output(&format!("#{number} ["));
    }

    /// Waits until the server has written `text` to its standard output. One of iperf3 needs `--forceflush`.
    pub fn wait_for_output(&self, text: &str) {
        let output = || self.process.stdout_so_far();
        let written = wait_for(HANG, || output().contains(text).then_some(()));
        assert!(
            written.is_some(),
            "{text:?} is not written:\n{}{}",
            output(),
            self.process.stderr_so_far()
        );
    }

    /// Waits until the streams of a UDP test are connected.
    pub fn wait_for_datagram_streams(&self) {
        let connected = || procfs::datagram_drops(self.id(), self.port());
        assert!(
            wait_for(HANG, connected).is_some(),
            "no stream is connected"
        );
    }

    /// Stops an end of a UDP test, which receives, until its socket has dropped more than `least` datagrams.
    pub fn drop_datagrams_of(&self, receiver: &Running, least: u64) {
        self.wait_for_datagram_streams();
        receiver.stop_until(|| procfs::datagram_drops(self.id(), self.port()) > Some(least));
    }

    /// Waits until the server has written `text` to its standard error, which it may do after its client has ended.
    /// Whether it ever does shows in what it has written at its end.
    pub fn wait_for_complaint(&self, text: &str) {
        wait_for(HANG, || {
            self.process.stderr_so_far().contains(text).then_some(())
        });
    }

    /// Waits for a server that ends by itself (`-1`).
    pub fn finish(self, limit: Duration) -> Finished {
        self.process.finish(limit)
    }

    /// Ends the server with SIGTERM, so that it writes what it still holds.
    pub fn stop(self) -> Finished {
        self.process.signal(Signal::SIGTERM);
        self.process.finish(HANG)
    }

    /// The JSON documents written up to now, one a test.
    pub fn documents(&self) -> Vec<Value> {
        json::documents(&self.process.stdout_so_far())
    }
}
