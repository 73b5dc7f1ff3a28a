//! Network namespaces: a loopback interface of one's own, with its own MTU, queues and addresses.
//!
//! A namespace lives as long as its keeper, a process that does nothing; programs enter it with `nsenter`. This
//! needs root.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use crate::process::{Running, wait_for};

/// A network namespace; gone when dropped.
#[derive(Debug)]
pub struct Namespace {
    keeper: Running,
}

/// Whether this process may make namespaces.
pub fn allowed() -> bool {
    nix::unistd::geteuid().is_root()
}

impl Namespace {
    /// A new namespace whose loopback interface is up.
    pub fn new() -> Self {
        assert!(allowed(), "a network namespace needs root");
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "infinity"]);
        let keeper = Running::start(command);
        let namespace = Self { keeper };
        let own = std::fs::read_link("/proc/self/ns/net").expect("this process has a namespace");
        let link = format!("/proc/{}/ns/net", namespace.keeper.id());
        wait_for(Duration::from_secs(10), || {
            let theirs = std::fs::read_link(&link).ok()?;
            (theirs != own).then_some(())
        })
        .expect("a new network namespace");
        namespace.run("ip", &["link", "set", "lo", "up"]);
        namespace
    }

    /// The same command, run inside.
    pub fn enter(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside
            .arg(format!("--net=/proc/{}/ns/net", self.keeper.id()))
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            inside.current_dir(dir);
        }
        inside
    }

    /// Runs a program inside to its end, which must be good, and returns what it wrote.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, args: &[S]) -> String {
        let mut command = Command::new(program);
        command.args(args);
        let end = Running::start(self.enter(&command)).finish(Duration::from_secs(10));
        assert!(end.succeeded(), "{end}");
        end.stdout
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_its_own_loopback() {
        if !allowed() {
            eprintln!("not root: no namespace can be made");
            return;
        }
        let namespace = Namespace::new();
        let mtu = ["link", "set", "lo", "mtu", "61492"];
        namespace.run("ip", &mtu);
        let inside = namespace.run("ip", &["-o", "link", "show", "lo"]);
        assert!(
            inside.contains("mtu 61492") && inside.contains("UP"),
            "{inside}"
        );
        assert!(
            !namespace.run("ip", &["-o", "link"]).contains("eth"),
            "only lo is inside"
        );
        let outside = std::fs::read_to_string("/sys/class/net/lo/mtu").unwrap();
        assert_ne!(outside.trim(), "61492");
    }
}
