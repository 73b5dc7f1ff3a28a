//! One run: a client and a server of the same program on one machine, and what the kernel says they used.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getuid};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wait4::{ResUse, Wait4 as _};

use crate::busy::BusyLoops;
use crate::cases::{Case, Ground};
use iperf_harness::peer::Peer;
use iperf_harness::port::Port;
use iperf_harness::process::{POLL, wait_for};
use iperf_harness::{json, procfs};

/// A server has to listen after this long.
const START_LIMIT: Duration = Duration::from_secs(10);
/// A run may take so much longer than its test.
const GRACE: Duration = Duration::from_secs(20);

/// One of the two programs.
#[derive(Clone, Debug)]
pub struct Program {
    /// How it is called in the table.
    pub name: String,
    path: PathBuf,
    /// What stands before the client's or the server's arguments.
    start: Vec<PathBuf>,
}

/// What one process used from its start to its end.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Time on a CPU in seconds, in user mode and in the kernel.
    pub cpu: f64,
    /// Largest resident memory in bytes.
    pub memory: u64,
}

/// Which of the processes takes data out of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Receiver {
    Client,
    Server,
    Both,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Received bits per second, both directions together.
    pub bits_per_second: f64,
    /// Received bytes.
    pub bytes: f64,
    /// Received datagrams per second.
    pub datagrams_per_second: Option<f64>,
    /// Lost datagrams in percent of the sent ones.
    pub loss_percent: Option<f64>,
    /// What the client used.
    pub client: Usage,
    /// What the server used.
    pub server: Usage,
    /// From the client's start to its end.
    pub wall: Duration,
    receiver: Receiver,
}

impl Program {
    /// `ours`, `iperf3` (the newest), `iperf3-old`, or the path of a program with iperf3's command line.
    pub fn named(name: &str) -> Result<Self, String> {
        let known = match name {
            "ours" => Some(Peer::Ours),
            "iperf3" => Some(Peer::New),
            "iperf3-old" => Some(Peer::Old),
            _ => None,
        };
        let path = known.map_or_else(|| PathBuf::from(name), |peer| peer.path().to_owned());
        if !path.is_file() {
            return Err(format!(
                "{name} is neither 'iperf3' nor 'iperf3-old' nor a program"
            ));
        }
        let (start, path) = if matches!(known, Some(Peer::New | Peer::Old)) {
            without_shell(&path).ok_or_else(|| format!("{name} lies there without its loader"))?
        } else {
            (Vec::new(), path)
        };
        Ok(Self {
            name: name.to_owned(),
            path,
            start,
        })
    }

    /// The program that lies there.
    pub fn at(path: &Path) -> Self {
        Self {
            name: path.display().to_string(),
            path: path.to_owned(),
            start: Vec::new(),
        }
    }

    /// Whether its help knows of vsock.
    pub fn speaks_vsock(&self) -> bool {
        let output = self.command().arg("--help").output();
        let said = output.map(|output| [output.stdout, output.stderr].concat());
        String::from_utf8_lossy(&said.unwrap_or_default()).contains("--vsock")
    }

    /// What `--version` says first.
    pub fn version(&self) -> String {
        let output = self.command().arg("--version").output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().next();
        line.unwrap_or("a program without version").to_owned()
    }

    /// The program's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a case once, on this machine.
    pub fn run(&self, case: &Case, seconds: u32) -> Result<Run, String> {
        let port = Port::reserve();
        let number = port.number().to_string();
        let mut server = self.command();
        server.args(case.ground.server()).args(["-p", &number]);
        let server = Process::start(&mut server)?;
        let mut client = self.command();
        client.args(case.ground.client()).args(["-p", &number]);
        client.args(case.client_args(seconds));
        let limit = Duration::from_secs(seconds.into()) + GRACE;
        let _loops = (case.ground == Ground::BusyLoopback).then(BusyLoops::start);
        let client = match case.ground {
            Ground::Loopback | Ground::BusyLoopback => {
                let listens = wait_for(START_LIMIT, || {
                    let up = procfs::listens(server.child.id(), port.number());
                    (up || server.has_ended()).then_some(up)
                });
                if listens != Some(true) {
                    return Err(format!("no server: {}", server.end(Duration::ZERO)?.text));
                }
                Process::start(&mut client)?.end(limit)?
            }
            // Where no list of listeners is, only a client can tell.
            Ground::Vsock => {
                let started = Instant::now();
                loop {
                    let client = Process::start(&mut client)?.end(limit)?;
                    let is_over = server.has_ended() || started.elapsed() > START_LIMIT;
                    if client.status.success() || is_over {
                        break client;
                    }
                    thread::sleep(POLL);
                }
            }
        };
        // A server that never saw its client would wait for ever.
        let patience = if client.status.success() { 10 } else { 1 };
        let server = server.end(Duration::from_secs(patience))?;
        let document = json::parse(&client.text).map_err(|_| {
            let (status, text) = (client.status, client.text.trim());
            format!("no document from the client ({status}): {text}")
        })?;
        if let Some(error) = json::text(&document, "/error") {
            return Err(error.to_owned());
        }
        if !client.status.success() || !server.status.success() {
            return Err(format!(
                "client: {}, server: {}",
                client.status, server.status
            ));
        }
        Run::new(&document, &client, &server)
    }

    fn command(&self) -> Command {
        let mut words = self.start.iter().chain([&self.path]);
        let mut command = Command::new(words.next().unwrap_or(&self.path));
        command.args(words).env("LC_ALL", "C");
        command
    }
}

/// How a fetched iperf3 is started by its own loader: the shell script that does it for other tests would be counted
/// as its CPU time.
fn without_shell(script: &Path) -> Option<(Vec<PathBuf>, PathBuf)> {
    let dir = script.parent()?;
    let libraries = dir.join("lib");
    let mut files = fs::read_dir(&libraries).ok()?.filter_map(Result::ok);
    let loader = files.find(|file| {
        let name = file.file_name();
        name.to_string_lossy().starts_with("ld-linux")
    })?;
    let start = vec![loader.path(), "--library-path".into(), libraries];
    Some((start, dir.join("bin/iperf3")))
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Run {
    fn new(document: &Value, client: &Ended, server: &Ended) -> Result<Self, String> {
        let received: Vec<&Value> = ["/end/sum_received", "/end/sum_received_bidir_reverse"]
            .iter()
            .map(|place| json::at(document, place))
            .filter(|sum| sum.is_object())
            .collect();
        let total = |name: &str| -> f64 {
            let values = received.iter().filter_map(|sum| json::float(sum, name));
            values.sum()
        };
        let bits_per_second = total("/bits_per_second");
        if bits_per_second <= 0.0 {
            return Err("nothing was received".to_owned());
        }
        let is_udp = json::text(document, "/start/test_start/protocol") == Some("UDP");
        // `packets` of the receiver's sum are those that were sent, as far as the receiver can tell.
        let (packets, lost) = (total("/packets"), total("/lost_packets"));
        let seconds = received
            .first()
            .and_then(|sum| json::float(sum, "/seconds"));
        let rate = seconds.map(|seconds| (packets - lost) / seconds);
        let flag = |name: &str| json::int(document, name).is_some_and(|flag| flag != 0);
        let receiver = match (
            flag("/start/test_start/bidir"),
            flag("/start/test_start/reverse"),
        ) {
            (true, _) => Receiver::Both,
            (_, true) => Receiver::Client,
            _ => Receiver::Server,
        };
        Ok(Self {
            bits_per_second,
            bytes: total("/bytes"),
            datagrams_per_second: rate.filter(|_| is_udp),
            loss_percent: is_udp.then(|| 100.0 * lost / packets.max(1.0)),
            client: client.usage,
            server: server.usage,
            wall: client.took,
            receiver,
        })
    }

    /// The process that received, if one alone did.
    pub fn receiver(&self) -> Option<Usage> {
        match self.receiver {
            Receiver::Client => Some(self.client),
            Receiver::Server => Some(self.server),
            Receiver::Both => None,
        }
    }

    /// So many seconds for each 10⁹ received bytes.
    pub fn per_gb(&self, seconds: f64) -> Option<f64> {
        (self.bytes > 0.0).then(|| seconds / (self.bytes / 1e9))
    }
}

/// A started process, killed when it is dropped before its end.
struct Process {
    child: Child,
    output: File,
    started: Instant,
    ended: bool,
}

struct Ended {
    status: ExitStatus,
    text: String,
    usage: Usage,
    took: Duration,
}

impl Process {
    /// Starts a command that writes to a file: a pipe would want a thread to read it while the test runs.
    fn start(command: &mut Command) -> Result<Self, String> {
        let failed = |e| format!("cannot start {}: {e}", command.get_program().display());
        let output = tempfile::tempfile().map_err(failed)?;
        let write_to = |output: &File| output.try_clone().map(Stdio::from).map_err(failed);
        let (stdout, stderr) = (write_to(&output)?, write_to(&output)?);
        let started = Instant::now();
        // The kernel counts the memory that a child shared with its parent before it became another program, which
        // is all of it when it is spawned the fast way (vfork). A user id, though it is our own, makes it a fork.
        let command = command.uid(getuid().as_raw());
        let child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let child = child.spawn();
        Ok(Self {
            child: child
                .map_err(|e| format!("cannot start {}: {e}", command.get_program().display()))?,
            output,
            started,
            ended: false,
        })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Whether it has ended; it is not yet reaped then, and its id is still its own.
    fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        !matches!(
            waitid(Id::Pid(self.pid()), flags),
            Ok(nix::sys::wait::WaitStatus::StillAlive)
        )
    }

    /// Waits for the end, or ends it after `limit`.
    fn end(mut self, limit: Duration) -> Result<Ended, String> {
        let id = Id::Pid(self.pid());
        let (tell, ended) = mpsc::channel();
        let waiter = thread::spawn(move || {
            // Leaves the process to be reaped by the call that also says what it used.
            let _ = waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            let _ = tell.send(Instant::now());
        });
        let moment = ended.recv_timeout(limit);
        if moment.is_err() {
            self.child.kill().map_err(|e| format!("kill: {e}"))?;
        }
        let _ = waiter.join();
        let ResUse { status, rusage } = self.child.wait4().map_err(|e| format!("wait4: {e}"))?;
        self.ended = true;
        let Ok(moment) = moment else {
            return Err(format!("not ended after {} s", limit.as_secs()));
        };
        let mut text = String::new();
        let read = self.output.rewind();
        read.and_then(|()| self.output.read_to_string(&mut text))
            .map_err(|e| format!("cannot read the output: {e}"))?;
        Ok(Ended {
            status,
            text,
            usage: Usage {
                cpu: (rusage.utime + rusage.stime).as_secs_f64(),
                memory: rusage.maxrss,
            },
            took: moment - self.started,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            // Fails when it has just ended by itself, which is what is wanted.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ended(cpu: f64) -> Ended {
        Ended {
            status: ExitStatus::default(),
            text: String::new(),
            usage: Usage { cpu, memory: 1000 },
            took: Duration::from_secs(1),
        }
    }

    fn run(document: &Value) -> Result<Run, String> {
        Run::new(document, &ended(1.0), &ended(2.0))
    }

    #[test]
    fn both_directions_count() {
        let sum = json!({"bytes": 5e8, "bits_per_second": 4e9, "seconds": 1.0});
        let document = json!({
            "start": {"test_start": {"protocol": "TCP", "reverse": 0, "bidir": 1}},
            "end": {"sum_received": sum, "sum_received_bidir_reverse": sum},
        });
        let run = run(&document).unwrap();
        assert!((run.bits_per_second - 8e9).abs() < 1.0);
        assert_eq!(run.per_gb(3.0), Some(3.0));
        assert!(run.receiver().is_none() && run.loss_percent.is_none());
    }

    #[test]
    fn lost_datagrams_are_not_received() {
        let document = json!({
            "start": {"test_start": {"protocol": "UDP", "reverse": 1, "bidir": 0}},
            "end": {"sum_received": {
                "bytes": 1000, "bits_per_second": 4000.0, "seconds": 2.0, "packets": 100, "lost_packets": 20,
            }},
        });
        let run = run(&document).unwrap();
        assert_eq!(run.datagrams_per_second, Some(40.0));
        assert_eq!(run.loss_percent, Some(20.0));
        assert!((run.receiver().unwrap().cpu - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_run_without_data_is_an_error() {
        assert!(run(&json!({"end": {}})).is_err());
    }

    #[test]
    fn a_process_that_works_is_accounted_for() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done",
        ]);
        let ended = Process::start(&mut command).unwrap();
        let ended = ended.end(Duration::from_secs(30)).unwrap();
        assert!(ended.status.success());
        assert_eq!(ended.text, "done\n");
        assert!(ended.usage.cpu > 0.0 && ended.usage.memory > 100_000);
        assert!(ended.took.as_secs_f64() > ended.usage.cpu / 2.0);
    }

    #[test]
    fn a_process_that_does_not_end_is_ended() {
        let process = Process::start(Command::new("sleep").arg("60")).unwrap();
        let pid = process.child.id();
        assert!(process.end(Duration::from_millis(20)).is_err());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
