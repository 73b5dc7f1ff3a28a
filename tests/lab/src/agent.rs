//! The guest's end of the serial port: it runs commands and sends back what they write and how they end.
//!
//! It is started by the guest's `/init` when the modules are loaded, and when it ends the machine is switched off.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::frame::{Frame, Kind};

/// What the kernel's first virtio serial port is called.
pub const PORT: &str = "/dev/vport0p1";

/// The port's end that is written to, shared by all threads that write.
type Line = Arc<Mutex<File>>;

/// A command that runs.
struct Process {
    group: Pid,
    input: Option<Sender<Vec<u8>>>,
}

/// Serves the port until it cannot be read.
pub fn serve() -> io::Result<()> {
    let port = OpenOptions::new().read(true).write(true).open(PORT)?;
    let line: Line = Arc::new(Mutex::new(port.try_clone()?));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    send(&line, &Frame::new(Kind::Hello, 0, release.trim()));
    let mut port = WaitingPort(port);
    let mut processes = HashMap::new();
    loop {
        let frame = Frame::read_from(&mut port)?;
        let id = frame.process;
        match frame.kind {
            Kind::Run | Kind::RunWithInput => match start(&line, &frame) {
                Ok(process) => _ = processes.insert(id, process),
                Err(error) => {
                    send(&line, &Frame::new(Kind::Error, id, error.to_string()));
                    // The code that a shell has for a command that cannot be run.
                    send(&line, &end(id, 126 << 8));
                }
            },
            Kind::Input => {
                let process: Option<&mut Process> = processes.get_mut(&id);
                if let Some(process) = process {
                    process.take_input(frame.bytes);
                }
            }
            Kind::Signal => {
                let signal = frame
                    .number()
                    .and_then(|number| Signal::try_from(number).ok());
                if let (Some(process), Some(signal)) = (processes.get(&id), signal) {
                    // It may have ended in the meantime.
                    let _ = signal::killpg(process.group, signal);
                }
            }
            Kind::Hello | Kind::Output | Kind::Error | Kind::End => {}
        }
    }
}

fn start(line: &Line, frame: &Frame) -> io::Result<Process> {
    let wants_input = frame.kind == Kind::RunWithInput;
    let id = frame.process;
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(String::from_utf8_lossy(&frame.bytes).as_ref())
        .process_group(0)
        .stdin(if wants_input {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let input = child.stdin.take().map(|mut stdin| {
        let (sender, receiver): (_, Receiver<Vec<u8>>) = mpsc::channel();
        // A process that does not read must not block the others.
        thread::spawn(move || {
            let _ = receiver
                .iter()
                .try_for_each(|bytes| stdin.write_all(&bytes));
        });
        sender
    });
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let line = Arc::clone(line);
    thread::spawn(move || follow(&line, id, child));
    Ok(Process { group, input })
}

/// Passes on all that a process writes, then how it ended.
fn follow(line: &Line, id: u32, mut child: Child) {
    let readers = [
        copy(line, Kind::Output, id, child.stdout.take()),
        copy(line, Kind::Error, id, child.stderr.take()),
    ];
    let status = child.wait().map_or(126 << 8, ExitStatusExt::into_raw);
    for reader in readers {
        let _ = reader.join();
    }
    send(line, &end(id, status));
}

fn copy(
    line: &Line,
    kind: Kind,
    id: u32,
    source: Option<impl Read + Send + 'static>,
) -> thread::JoinHandle<()> {
    let line = Arc::clone(line);
    thread::spawn(move || {
        let Some(mut source) = source else { return };
        let mut chunk = [0; 16 * 1024];
        while let Ok(count @ 1..) = source.read(&mut chunk) {
            send(&line, &Frame::new(kind, id, &chunk[..count]));
        }
    })
}

fn end(id: u32, status: i32) -> Frame {
    Frame::new(Kind::End, id, status.to_le_bytes())
}

fn send(line: &Line, frame: &Frame) {
    let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = frame.write_to(&mut *line) {
        eprintln!("agent: cannot write to the harness: {error}");
    }
}

impl Process {
    fn take_input(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            self.input = None;
        } else if let Some(input) = &self.input {
            // The process may have closed its end.
            let _ = input.send(bytes);
        }
    }
}

/// A port with an other end that may not be connected yet, which reads as an end of file. If it stays so, the harness
/// has ended, and the machine is switched off.
struct WaitingPort(File);

const PATIENCE: Duration = Duration::from_secs(20);

impl Read for WaitingPort {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            match self.0.read(buffer) {
                Ok(0) if !buffer.is_empty() && begun.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(20));
                }
                other => return other,
            }
        }
    }
}
