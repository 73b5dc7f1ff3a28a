//! `lab [OPTIONS] COMMAND…` runs a command in a virtual machine of the lab, and ends as it ended.
//!
//! In a guest, called `lab-agent`, it is the agent that runs the lab's commands; called `lab-flood`, with a CID, a port
//! and a number, it makes that many connections, sends nothing over them, and holds them until it is killed; called
//! `lab-deaf`, with a port, it accepts connections, and reads nothing.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool of the tests prints for those who run it"
)]

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use iperf_harness::Peer;
use iperf_lab::{Backend, Kernel, Machine, ZerocopyModule, agent};
use socket2::{Domain, SockAddr, Socket, Type};

/// A command may run for an hour.
const LIMIT: Duration = Duration::from_secs(3600);

/// Runs a command in a virtual machine of the lab, and ends as it ended. See docs/lab.md.
#[derive(Parser)]
#[command(name = "lab")]
struct Args {
    /// The kernel of the machine: the newest, or that of the long-term series
    #[arg(long, default_value_t = Kernel::New, value_parser = kernels())]
    kernel: Kernel,
    /// The memory of the machine, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: u32,
    /// Load a kernel module: one of the kernel's own by name, vsock_zerocopy (built if need be), or a file (with a slash in
    /// its path)
    #[arg(long, value_name = "MODULE")]
    load: Vec<String>,
    /// Put a file into the root folder
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Add a vsock device; the host's socket file is printed
    #[arg(long)]
    vsock: bool,
    /// Build this repository's kernel modules and load them, the transport in place of the stock one
    #[arg(long)]
    zerocopy: bool,
    /// Emulate the processor, and let each instruction take a nanosecond of the guest's time: ratios of CPU time and of rates
    /// within the guest then do not depend on the load of this machine
    #[arg(long)]
    count_instructions: bool,
    /// Run a command on this machine beside the one in the guest, and end with it: $VM is the guest's socket file, and
    /// iperf the program that the guest has
    #[arg(long, value_name = "COMMAND", requires = "vsock")]
    host: Option<String>,
    /// What busybox's shell runs in the machine
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

/// The names of kernels.
fn kernels() -> impl TypedValueParser<Value = Kernel> {
    let names = Kernel::ALL.map(Kernel::name);
    PossibleValuesParser::new(names).map(|name| {
        let named = Kernel::ALL.into_iter().find(|kernel| kernel.name() == name);
        named.expect("one of their names")
    })
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
    let args = Args::parse();
    match machine(&args) {
        Ok(machine) => run(machine, &args),
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::from(2)
        }
    }
}

/// Connects in a loop, also when a connection is refused or ends.
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

/// Accepts all connections and never reads from them.
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

fn machine(args: &Args) -> Result<Machine, String> {
    let mut machine = Machine::new(args.kernel).memory(args.memory);
    if args.count_instructions {
        machine = machine.counting_instructions();
    }
    for module in &args.load {
        machine = match module.as_str() {
            "sch_netem" => machine.netem(),
            // Of this repository, and built for the kernel first.
            "vsock_zerocopy" => machine.load_file(&ZerocopyModule::build(args.kernel).file),
            file if file.contains('/') => machine.load_file(Path::new(file)),
            name => machine.load(name),
        };
    }
    for file in &args.file {
        let path = file.display();
        let name = file.file_name().ok_or(format!("{path} names no file"))?;
        let bytes = std::fs::read(file).map_err(|e| format!("cannot read {path}: {e}"))?;
        machine = machine.file(&format!("/{}", name.to_string_lossy()), bytes);
    }
    Ok(machine)
}

/// Runs a command on this machine.
fn run_here(command: &str, socket: &Path) -> ExitCode {
    // Whatever the file is called: another iperf that this machine may have is not meant.
    let programs = tempfile::tempdir().expect("a temporary directory");
    symlink(Peer::Ours.path(), programs.path().join("iperf")).expect("a link");
    let mut folders = vec![programs.path().to_owned()];
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let status = Command::new("sh")
        .args(["-c", command])
        .env("VM", socket)
        .env("PATH", env::join_paths(folders).unwrap_or_default())
        .status();
    let code = status.ok().and_then(|status| status.code());
    code.and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

fn run(mut machine: Machine, args: &Args) -> ExitCode {
    let backend = args.vsock.then(|| Backend::start(1));
    if let Some(backend) = &backend {
        let guest = backend.guest(0);
        eprintln!("lab: guest {} is {}", guest.cid, guest.path.display());
        machine = machine.vsock(guest);
    }
    if args.zerocopy {
        let built = ZerocopyModule::build(machine.kernel());
        machine = machine.zerocopy(&built);
    }
    let vm = machine.boot();
    if let (Some(command), Some(backend)) = (&args.host, &backend) {
        let _guest = vm.start(&args.command.join(" "));
        return run_here(command, backend.guest(0).path());
    }
    let end = vm.run_within(&args.command.join(" "), LIMIT);
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;
    use iperf_harness::pair::words;

    use super::*;

    #[test]
    fn docs_lab_md_has_every_option_and_its_commands_are_understood() {
        let page = include_str!("../../../docs/lab.md");
        for option in Args::command().get_opts() {
            let name = format!("--{}", option.get_long().expect("a long name"));
            assert!(page.contains(&name), "{name}");
        }
        let commands = page.lines().filter_map(|line| {
            let (_, words) = line.split_once("cargo run -p iperf-lab -- ")?;
            Some(words.trim_end_matches('\\'))
        });
        let commands: Vec<_> = commands.filter(|words| !words.is_empty()).collect();
        assert!(commands.len() > 6, "{commands:?}");
        for command in commands {
            let words = ["lab".to_owned()].into_iter().chain(words(command));
            let error = Args::try_parse_from(words).err();
            let error = error.filter(|error| error.kind() != ErrorKind::DisplayHelp);
            assert!(error.is_none(), "{command}: {error:?}");
        }
    }

    #[test]
    fn what_follows_the_command_belongs_to_it() {
        let args = Args::try_parse_from(["lab", "--vsock", "iperf", "-s", "--vsock", "--load"]);
        let args = args.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(args.command.join(" "), "iperf -s --vsock --load");
        assert!(args.vsock && args.load.is_empty());
        assert!(Args::try_parse_from(["lab", "--vsock"]).is_err());
        assert!(Args::try_parse_from(["lab", "--vsok", "true"]).is_err());
    }
}
