//! Network namespaces: a loopback interface of one's own, with its own MTU, queues and addresses.
//!
//! A namespace lives as long as its keeper, a process that does nothing; programs enter it with `nsenter`, and so does
//! everything that a thread [`inside`](Namespace::inside) starts. This needs root; without root a test fails.

use std::ffi::OsStr;
use std::fs::File;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::process::{HANG, Running, wait_for};

/// A network namespace; gone when dropped.
#[derive(Debug)]
pub struct Namespace {
    keeper: Running,
}

impl Namespace {
    /// A new namespace whose loopback interface is up.
    pub fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "infinity"]);
        let keeper = Running::start(command);
        let namespace = Self { keeper };
        let own = std::fs::read_link("/proc/self/ns/net").expect("this process has a namespace");
        let link = format!("/proc/{}/ns/net", namespace.keeper.id());
        wait_for(HANG, || {
            let theirs = std::fs::read_link(&link).ok()?;
            (theirs != own).then_some(())
        })
        .expect("a new network namespace");
        namespace.run("ip", &["link", "set", "lo", "up"]);
        namespace
    }

    /// A new namespace whose loopback interface has this MTU, in bytes.
    pub fn with_mtu(bytes: u32) -> Self {
        let namespace = Self::new();
        let mtu = bytes.to_string();
        namespace.run("ip", &["link", "set", "lo", "mtu", &mtu]);
        namespace
    }

    /// Runs `work` on a thread inside: with the harness as it is, servers, clients and proxies find themselves there.
    /// A panic of it is one of the caller.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let link = format!("/proc/{}/ns/net", self.keeper.id());
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let handle = File::open(&link).unwrap_or_else(|e| panic!("no {link}: {e}"));
                setns(handle, CloneFlags::CLONE_NEWNET)
                    .unwrap_or_else(|e| panic!("the namespace can't be entered: {e}"));
                work()
            });
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
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
        let end = Running::start(self.enter(&command)).finish(HANG);
        assert!(end.succeeded(), "{end}");
        end.stdout
    }
}

/// The names of the two ends of a [`wire`].
const ENDS: [&str; 2] = ["left", "right"];

/// Two namespaces with a wire between them: 10.9.0.1 and fd09::1 in the first, 10.9.0.2 and fd09::2 in the second.
pub fn wire(mtu: u32) -> [Namespace; 2] {
    let ends = [Namespace::new(), Namespace::new()];
    let other = format!("/proc/{}/ns/net", ends[1].keeper.id());
    let line = format!(
        "link add {} type veth peer name {} netns {other}",
        ENDS[0], ENDS[1]
    );
    ends[0].run("ip", &line.split(' ').collect::<Vec<_>>());
    for (number, (end, name)) in ends.iter().zip(ENDS).enumerate() {
        for line in [
            format!("addr add 10.9.0.{}/24 dev {name}", number + 1),
            format!("addr add fd09::{}/64 dev {name} nodad", number + 1),
            format!("link set {name} mtu {mtu} up"),
        ] {
            end.run("ip", &line.split(' ').collect::<Vec<_>>());
        }
    }
    ends
}

impl Namespace {
    /// A counter of the system inside, of those that `nstat` prints.
    pub fn counter(&self, name: &str) -> u64 {
        let table = self.run("nstat", &["-asz", name]);
        let line = table.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {table}"))
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
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_namespace_has_its_own_loopback() {
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
    #[test]
    fn threads_inside_have_a_loopback_of_their_own() {
        let namespace = Namespace::with_mtu(61_492);
        let listener = namespace.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        namespace.inside(|| TcpStream::connect(address).unwrap());
        let other = Namespace::new();
        assert!(other.inside(|| TcpStream::connect(address)).is_err());
    }
}
