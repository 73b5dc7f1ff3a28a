//! `zerocopy-table vsock|tcp [--kernel new|6.12] [--rounds N] [--bytes N]`: receiving by copy beside receiving by
//! mapping, as a Markdown table.
//!
//! ```text
//! vsock   in a virtual machine of the lab with the kernel module, over CID 1
//! tcp     on this machine, in a network namespace whose loopback has an MTU that fills pages
//! ```
//!
//! A round is two runs, directly one after the other; which goes first alternates. They differ in the receiver only. The
//! ratio of a round is what counts: both runs see the same minute of the machine.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool of the tests prints for those who run it"
)]

use std::env;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use iperf_bench::comparison::{median, spread};
use iperf_bench::machine;
use iperf_harness::Peer;
use iperf_harness::json::{at, float, parse};
use iperf_lab::{Kernel, Machine, Place, Program, ZerocopyModule};
use nix::unistd::Uid;
use serde_json::Value;

const USAGE: &str =
    "usage: zerocopy-table vsock|tcp [--kernel new|6.12] [--rounds N] [--bytes N[K|M|G]]";

/// How long a run may take, and a server until it listens.
const RUN: Duration = Duration::from_secs(300);
const LISTENS: Duration = Duration::from_secs(30);

/// Bytes in a page.
const PAGE: u32 = 4096;

/// 1 MiB is the largest block.
const LARGEST_BLOCK: u32 = 256;

/// 15 pages, a timestamp, and the headers of TCP and IPv4.
const MTU: &str = "61492";

struct Job {
    way: Way,
    kernel: Kernel,
    rounds: usize,
    bytes: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Vsock,
    Tcp,
    /// The same, in the namespace.
    TcpInside,
}

impl Way {
    /// Sizes in pages.
    fn sizes(self) -> &'static [u32] {
        match self {
            Self::Vsock => &[8, 16, 32, 64, 128, 256, 512],
            // Less than a segment of 15 pages would be another comparison.
            _ => &[16, 32, 64, 128, 256],
        }
    }

    /// What makes a receiver find about so many pages at a time. Over vsock that is the buffer: it bounds what the
    /// sender may have sent. TCP grows its own.
    fn args(self, pages: u32) -> String {
        let block = pages.min(LARGEST_BLOCK) * PAGE;
        match self {
            Self::Vsock => format!("-c 1 --vsock -l {block} -w {}", pages * PAGE),
            _ => format!("-c 127.0.0.1 --zerocopy=msg -l {block}"),
        }
    }

    /// The table's head. What a receiver by copy spent is only said when something else was asked for, as it is of the
    /// sender over TCP.
    fn head(self) -> &'static str {
        match self {
            Self::Vsock => {
                "| block and buffer, pages | copy, Gbit/s | mapped, Gbit/s | ratio | mapped | pages per mapping |\n\
                |---|---|---|---|---|---|\n"
            }
            _ => {
                "| block, pages | copy, Gbit/s | mapped, Gbit/s | ratio | mapped | pages per mapping \
                | receiver's CPU by copy, s/GB | mapped, s/GB |\n\
                |---|---|---|---|---|---|---|---|\n"
            }
        }
    }

    fn server(self) -> &'static str {
        match self {
            Self::Vsock => "-s --vsock",
            _ => "-s",
        }
    }
}

fn main() -> ExitCode {
    let job = match job(env::args().skip(1)) {
        Ok(job) => job,
        Err(error) => {
            eprintln!("zerocopy-table: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let made = match job.way {
        Way::Vsock => in_a_guest(&job),
        Way::Tcp => in_a_namespace(),
        Way::TcpInside => table(&job, Place::Here, &machine::Machine::here().kernel),
    };
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zerocopy-table: {error}");
            ExitCode::FAILURE
        }
    }
}

fn job(mut args: impl Iterator<Item = String>) -> Result<Job, String> {
    let mut job = Job {
        way: match args.next().as_deref() {
            Some("vsock") => Way::Vsock,
            Some("tcp") => Way::Tcp,
            Some("tcp-inside") => Way::TcpInside,
            _ => return Err("vsock or tcp?".to_owned()),
        },
        kernel: Kernel::New,
        rounds: 7,
        bytes: "128M".to_owned(),
    };
    while let Some(arg) = args.next() {
        let value = args.next().ok_or(format!("{arg} needs a value"))?;
        let wrong = || format!("{arg} can't be {value}");
        match arg.as_str() {
            "--kernel" => job.kernel = Kernel::named(&value).ok_or_else(wrong)?,
            "--rounds" => job.rounds = value.parse().map_err(|_| wrong())?,
            "--bytes" => job.bytes = value,
            _ => return Err(format!("there is no option {arg}")),
        }
    }
    if job.rounds == 0 {
        return Err("no rounds make no table".to_owned());
    }
    Ok(job)
}

fn in_a_guest(job: &Job) -> Result<(), String> {
    let module = ZerocopyModule::build(job.kernel);
    let vm = Machine::new(job.kernel).load_file(&module.file).boot();
    let kernel = format!("{} in {}", job.kernel.release(), said("qemu-system-x86_64"));
    table(job, Place::In(&vm), &kernel)
}

/// Runs this program in a namespace of its own.
fn in_a_namespace() -> Result<(), String> {
    let this = env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !Uid::effective().is_root() {
        command.arg("--map-root-user");
    }
    let script = format!("ip link set lo mtu {MTU} up && exec \"$@\"");
    command.args(["sh", "-c", &script, "sh"]).arg(this);
    command.arg("tcp-inside").args(env::args().skip(2));
    let status = command.status().map_err(|e| format!("unshare: {e}"))?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| status.to_string())
}

/// What a program says of its version.
fn said(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    output.map_or_else(|e| e.to_string(), |it| first_line(&it.stdout))
}

fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().next().unwrap_or_default().to_owned()
}

/// One run.
struct Run {
    gigabits: f64,
    /// The receiver's thread, for 10⁹ bytes; 0 when it is not said.
    cpu: f64,
    /// The share that was mapped, and the pages of a mapping.
    share: f64,
    pages: f64,
}

/// Both runs of a round.
struct Round {
    copy: Run,
    mapped: Run,
}

fn table(job: &Job, place: Place<'_>, kernel: &str) -> Result<(), String> {
    let _server = place.start(Peer::Ours, job.way.server());
    let mut text = format!(
        "Linux {kernel}; {} rounds of {} each.\n\n{}",
        job.rounds,
        job.bytes,
        job.way.head()
    );
    for &pages in job.way.sizes() {
        let mut rounds = Vec::new();
        for number in 0..job.rounds {
            eprintln!("{pages} pages, round {} of {}", number + 1, job.rounds);
            rounds.push(round(job, place, pages, number % 2 == 1)?);
        }
        line(&mut text, job.way, pages, &rounds);
    }
    print!("{text}");
    Ok(())
}

fn round(job: &Job, place: Place<'_>, pages: u32, mapped_first: bool) -> Result<Round, String> {
    let args = format!("{} -J -n {}", job.way.args(pages), job.bytes);
    let copy = || run(place, &format!("{args} --zerocopy-rx=off"));
    let mapped = || run(place, &format!("{args} --zerocopy-rx=mmap"));
    let (copy, mapped) = if mapped_first {
        let mapped = mapped()?;
        (copy()?, mapped)
    } else {
        (copy()?, mapped()?)
    };
    Ok(Round { copy, mapped })
}

fn run(place: Place<'_>, args: &str) -> Result<Run, String> {
    let document = document(place, args)?;
    let received = at(&document, "/end/sum_received");
    let rate = float(received, "/bits_per_second").ok_or("no throughput")?;
    let number = |key: &str| float(received, &format!("/zerocopy/{key}")).unwrap_or(0.0);
    let mapped = number("bytes_not_copied");
    Ok(Run {
        gigabits: rate / 1e9,
        cpu: number("cpu_seconds_per_gigabyte"),
        share: mapped / (mapped + number("bytes_copied")),
        pages: number("bytes_per_mapping") / f64::from(PAGE),
    })
}

/// Runs a client; while nobody listens yet, it tries again.
fn document(place: Place<'_>, args: &str) -> Result<Value, String> {
    let begun = Instant::now();
    loop {
        let client: Program = place.start(Peer::Ours, args);
        let end = client.finish(RUN);
        if end.succeeded() {
            return parse(&end.stdout).map_err(|e| format!("{e}\n{end}"));
        }
        if begun.elapsed() > LISTENS || !is_alone(&end.stdout) {
            return Err(end.to_string());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn is_alone(stdout: &str) -> bool {
    ["nothing listens", "Connection refused", "reset by peer"]
        .iter()
        .any(|text| stdout.contains(text))
}

fn line(text: &mut String, way: Way, pages: u32, rounds: &[Round]) {
    let of = |figure: fn(&Round) -> f64| rounds.iter().map(figure).collect::<Vec<f64>>();
    let ratios = of(|round| round.mapped.gigabits / round.copy.gigabits);
    let (least, most) = spread(&ratios);
    let _ = write!(
        text,
        "| {pages} | {:.2} | {:.2} | {:.2} ({least:.2}–{most:.2}) | {:.1} % | {:.0} |",
        median(&of(|round| round.copy.gigabits)),
        median(&of(|round| round.mapped.gigabits)),
        median(&ratios),
        100.0 * median(&of(|round| round.mapped.share)),
        median(&of(|round| round.mapped.pages)),
    );
    if way != Way::Vsock {
        let copy = median(&of(|round| round.copy.cpu));
        let mapped = median(&of(|round| round.mapped.cpu));
        let _ = write!(text, " {copy:.3} | {mapped:.3} |");
    }
    text.push('\n');
}
