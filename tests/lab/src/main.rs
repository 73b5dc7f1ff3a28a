//! `lab [--kernel new|6.12] [--memory MIB] [--load MODULE]… [--file FILE]… [--vsock] [--zerocopy] COMMAND…`: runs a command
//! in a virtual machine of the lab, and ends as it ended.
//!
//! In a guest, called `lab-agent`, it is the agent that runs the lab's commands; called `lab-flood`, with a CID, a port
//! and a number, it makes so many connections, sends nothing over them, and holds them until it is killed; called
//! `lab-deaf`, with a port, it accepts connections, and reads nothing.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool of the tests prints for those who run it"
)]

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use iperf_lab::{Backend, Kernel, Machine, ZerocopyModule, agent};
use socket2::{Domain, SockAddr, Socket, Type};

const USAGE: &str = "usage: lab [--kernel new|6.12] [--memory MIB] [--load MODULE]... [--file FILE]... \
    [--vsock] [--zerocopy] COMMAND...";

/// A command may run for an hour.
const LIMIT: Duration = Duration::from_secs(3600);

struct Job {
    machine: Machine,
    vsock: bool,
    zerocopy: bool,
    command: String,
}

fn main() -> ExitCode {
    let mut args = env::args();
    let name = args.next().unwrap_or_default();
    if Path::new(&name).file_name() == Some(OsStr::new("lab-agent")) {
        if let Err(error) = agent::serve() {
            eprintln!("lab-agent: {error}");
        }
        return ExitCode::FAILURE;
    }
    if Path::new(&name).file_name() == Some(OsStr::new("lab-flood")) {
        let numbers: Option<Vec<u32>> = args.map(|arg| arg.parse().ok()).collect();
        if let Some([cid, port, count]) = numbers.as_deref() {
            return flood(*cid, *port, *count);
        }
        return ExitCode::from(2);
    }
    if Path::new(&name).file_name() == Some(OsStr::new("lab-deaf")) {
        let port = args.next().and_then(|arg| arg.parse().ok());
        return port.map_or(ExitCode::from(2), deaf);
    }
    match job(args) {
        Ok(job) => run(job),
        Err(error) => {
            eprintln!("lab: {error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Connects again and again; a connection that is refused or ended is made anew.
fn flood(cid: u32, port: u32, count: u32) -> ExitCode {
    let mut held = VecDeque::new();
    let mut made = 0_u64;
    loop {
        let socket = Socket::new(Domain::VSOCK, Type::STREAM, None);
        let connected =
            socket.and_then(|socket| socket.connect(&SockAddr::vsock(cid, port)).map(|()| socket));
        match connected {
            Ok(socket) => held.push_back(socket),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
        made += 1;
        if made == u64::from(count) {
            println!("flooded");
        }
        if held.len() > count as usize {
            held.pop_front();
        }
        if made >= u64::from(count) {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Accepts whoever comes, and leaves what they send where it is.
fn deaf(port: u32) -> ExitCode {
    let listener = Socket::new(Domain::VSOCK, Type::STREAM, None).and_then(|socket| {
        socket.bind(&SockAddr::vsock(u32::MAX, port))?;
        socket.listen(8)?;
        Ok(socket)
    });
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("lab-deaf: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("listening");
    let mut held = Vec::new();
    while let Ok((socket, _)) = listener.accept() {
        held.push(socket);
    }
    ExitCode::FAILURE
}

fn job(mut args: impl Iterator<Item = String>) -> Result<Job, String> {
    let mut kernel = Kernel::New;
    let (mut memory, mut vsock, mut zerocopy) = (None, false, false);
    let (mut modules, mut files) = (Vec::new(), Vec::new());
    let mut command = Vec::new();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--kernel" => {
                let name = value()?;
                kernel = Kernel::named(&name).ok_or(format!("there is no kernel {name}"))?;
            }
            "--memory" => {
                let text = value()?;
                let number = text
                    .parse()
                    .map_err(|e| format!("{text} is no size in MiB: {e}"))?;
                memory = Some(number);
            }
            "--load" => modules.push(value()?),
            "--file" => files.push(value()?),
            "--vsock" => vsock = true,
            "--zerocopy" => zerocopy = true,
            "--" => break,
            _ if arg.starts_with('-') => return Err(format!("there is no option {arg}")),
            _ => {
                command.push(arg);
                break;
            }
        }
    }
    command.extend(args);
    if command.is_empty() {
        return Err("there is no command".to_owned());
    }
    let mut machine = Machine::new(kernel);
    if let Some(memory) = memory {
        machine = machine.memory(memory);
    }
    for module in modules {
        machine = match module.as_str() {
            "sch_netem" => machine.netem(),
            // Of this repository, and built for the kernel first.
            "vsock_zerocopy" => machine.load_file(&ZerocopyModule::build(kernel).file),
            file if file.contains('/') => machine.load_file(Path::new(file)),
            name => machine.load(name),
        };
    }
    for file in files {
        let name = Path::new(&file)
            .file_name()
            .ok_or(format!("{file} names no file"))?;
        let bytes = std::fs::read(&file).map_err(|e| format!("cannot read {file}: {e}"))?;
        machine = machine.file(&format!("/{}", name.to_string_lossy()), bytes);
    }
    Ok(Job {
        machine,
        vsock,
        zerocopy,
        command: command.join(" "),
    })
}

fn run(job: Job) -> ExitCode {
    let backend = job.vsock.then(|| Backend::start(1));
    let mut machine = job.machine;
    if let Some(backend) = &backend {
        let guest = backend.guest(0);
        eprintln!("lab: guest {} is {}", guest.cid, guest.path.display());
        machine = machine.vsock(guest);
    }
    if job.zerocopy {
        let built = ZerocopyModule::build(machine.kernel());
        machine = machine.zerocopy(&built);
    }
    let vm = machine.boot();
    let end = vm.run_within(&job.command, LIMIT);
    print!("{}", end.stdout);
    eprint!("{}", end.stderr);
    if let Some(complaints) = backend.map(|backend| backend.complaints())
        && !complaints.is_empty()
    {
        eprintln!("lab: vhost-device-vsock said:\n{complaints}");
    }
    let console = vm.console();
    if !console.trim().is_empty() {
        eprintln!("lab: the console said:\n{console}");
    }
    end.code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}
