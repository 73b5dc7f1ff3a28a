//! A running virtual machine.

use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::machine::Files;
use super::process::{Link, Process};
use super::{Accel, Kernel, Machine};
use iperf_harness::process::{Finished, POLL, Running};

/// A machine that emulates, with others beside it.
const BOOT: Duration = Duration::from_secs(400);

/// Long enough for a short command in a guest.
const COMMAND: Duration = Duration::from_secs(60);

/// A guest that runs commands. Dropping it ends it; its console output is shown when a test fails.
#[derive(Debug)]
pub struct Vm {
    qemu: Running,
    link: Arc<Link>,
    kernel: Kernel,
    files: Files,
    _folder: TempDir,
}

impl Vm {
    /// Starts a machine and waits until it runs commands.
    pub(super) fn boot(machine: &Machine, accel: Accel) -> Self {
        let started = Instant::now();
        match Self::try_boot(machine, accel, BOOT) {
            Ok(vm) => {
                let (release, took) = (vm.link.release(), started.elapsed().as_secs_f64());
                eprintln!("lab: Linux {release} with {accel}, up after {took:.1} s");
                vm
            }
            Err(why) => panic!("a machine with {accel} does not start: {why}"),
        }
    }

    /// The same within `limit`, or why not.
    pub(super) fn try_boot(
        machine: &Machine,
        accel: Accel,
        limit: Duration,
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let files = Files {
            line: folder.path().join("line"),
            console: folder.path().join("console"),
            initramfs: folder.path().join("initramfs"),
        };
        fs::write(&files.initramfs, machine.initramfs()).expect("a file in it");
        let listener = UnixListener::bind(&files.line).expect("a socket in it");
        let command = machine.command(accel, &files);
        assert!(
            installed("qemu-system-x86_64"),
            "qemu-system-x86_64 is missing: apt-get install qemu-system-x86 seabios"
        );
        let deadline = Instant::now() + limit;
        let mut qemu = Running::start(command);
        let story = |qemu: Running, what: &str| {
            let console = tail(&files);
            let end = qemu.finish(Duration::ZERO);
            Err(format!("{what}\n{end}the console's last lines:\n{console}"))
        };
        let stream = match accept(&listener, &mut qemu, deadline) {
            Ok(stream) => stream,
            Err(error) => return story(qemu, &format!("QEMU does not open the line: {error}")),
        };
        let link = Link::new(&stream);
        if !link.wait_for_hello(deadline) {
            let what = format!("the guest has ended or sends nothing within {limit:?}");
            return story(qemu, &what);
        }
        Ok(Self {
            qemu,
            link,
            kernel: machine.kernel(),
            files,
            _folder: folder,
        })
    }

    /// Runs a command of the shell to its end.
    pub fn run(&self, command: &str) -> Finished {
        self.run_within(command, COMMAND)
    }

    /// Runs a command of the shell; it is killed when `limit` has passed.
    pub fn run_within(&self, command: &str, limit: Duration) -> Finished {
        self.start(command).finish(limit)
    }

    /// Runs a command that must succeed, and returns its output.
    pub fn must(&self, command: &str) -> String {
        let end = self.run(command);
        assert!(end.succeeded(), "in the guest:\n{end}");
        end.stdout
    }

    /// Starts a command of the shell, beside whatever else runs.
    pub fn start(&self, command: &str) -> Process {
        Process::start(Arc::clone(&self.link), command, None)
    }

    /// The bytes of a file in the guest.
    pub fn read(&self, path: &str) -> Vec<u8> {
        let process = self.start(&format!("cat '{path}'"));
        let (end, bytes) = process.finish_with_bytes(COMMAND);
        assert!(end.succeeded(), "in the guest:\n{end}");
        bytes
    }

    /// Writes a file in the guest.
    pub fn write(&self, path: &str, bytes: &[u8]) {
        let link = Arc::clone(&self.link);
        let end = Process::start(link, &format!("cat > '{path}'"), Some(bytes)).finish(COMMAND);
        assert!(end.succeeded(), "in the guest:\n{end}");
    }

    /// Ends the machine in the middle of whatever it does.
    pub fn kill(&self) {
        self.qemu.signal(Signal::SIGKILL);
    }

    /// QEMU's process id.
    pub fn id(&self) -> u32 {
        self.qemu.id()
    }

    /// The kernel.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// The guest's console output so far.
    pub fn console(&self) -> String {
        let bytes = fs::read(&self.files.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if thread::panicking() {
            let name = self.link.release();
            eprintln!(
                "── console of the guest with Linux {name}:\n{}",
                tail(&self.files)
            );
        }
    }
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The connection that QEMU makes when it starts.
fn accept(
    listener: &UnixListener,
    qemu: &mut Running,
    deadline: Instant,
) -> io::Result<UnixStream> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if !qemu.is_alive() {
            return Err(io::Error::other("it has ended"));
        }
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(POLL);
    }
}

fn tail(files: &Files) -> String {
    const LINES: usize = 60;
    let bytes = fs::read(&files.console).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
