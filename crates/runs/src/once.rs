//! One run of one side, from its preparation to its cleanup.

use std::time::{Duration, Instant, SystemTime};

use iperf_model::since_1970;
use iperf_results::{Metric, Record, read_bytes};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::plan::{Plan, SidePlan};
use crate::ready::DEADLINE;
use crate::running::{Launcher, MAX_OUTPUT, Running, Waited};
use crate::supervisor::Mode;

/// How long a cleanup may take after an interrupt.
const LAST_CLEANUP: Duration = Duration::from_secs(10);

/// What is measured of a run from outside.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Measured {
    /// When it began, in seconds since 1970.
    pub started: f64,
    /// How long the command took.
    pub seconds: f64,
    /// The command's exit code, if it exited by itself.
    pub exit_code: Option<i32>,
    /// CPU seconds of all processes of the command.
    pub cpu_seconds: Option<f64>,
    /// CPU seconds of all processes of the server.
    pub server_cpu_seconds: Option<f64>,
    /// The largest resident memory of a process of the command, in bytes.
    pub peak_memory: Option<u64>,
    /// The same of the server.
    pub server_peak_memory: Option<u64>,
}

/// A run and its outcome.
#[derive(Debug, Clone)]
pub struct Run {
    /// The round, from 1; runs of the same round are a pair.
    pub round: u64,
    /// Which side.
    pub side: usize,
    /// What was measured from outside.
    pub measured: Measured,
    /// What was read from the output, or why nothing was.
    pub result: Result<Vec<Record>, Failure>,
    /// The output.
    pub out: String,
    /// The output on stderr.
    pub err: String,
}

/// Why a run ends before its result.
enum Stop {
    Interrupted,
    Failed(Failure),
}

/// How commands are run.
pub(crate) struct Runner<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) launcher: &'a Launcher,
    pub(crate) interrupt: &'a Interrupt,
}

impl Runner<'_> {
    /// Runs side `index` once; `None` after an interrupt.
    pub(crate) fn once(&self, index: usize, round: u64) -> Option<Run> {
        let side = &self.plan.sides[index];
        let mut run = Run {
            round,
            side: index,
            measured: Measured {
                started: since_1970(SystemTime::now()),
                ..Measured::default()
            },
            result: Ok(Vec::new()),
            out: String::new(),
            err: String::new(),
        };
        let attempt = self.attempt(side, &mut run);
        let cleaned = self.clean_up();
        match attempt.and(cleaned) {
            Err(Stop::Interrupted) => return None,
            Err(Stop::Failed(failure)) => run.result = Err(failure),
            Ok(()) => {
                run.result = read(&run, &side.name, self.plan);
            }
        }
        Some(run)
    }

    fn attempt(&self, side: &SidePlan, run: &mut Run) -> Result<(), Stop> {
        if let Some(prepare) = &self.plan.prepare {
            self.shell("--prepare", prepare, self.plan.timeout, self.interrupt)?;
        }
        let Some((command, ready)) = &side.server else {
            return self.measure(side, run, None);
        };
        let start = |error| failed(format!("the server could not be started: {error}"));
        let mut server = Running::start(self.launcher, Mode::Service, command).map_err(start)?;
        let measured = match ready.wait(&mut server, DEADLINE, self.interrupt) {
            Ok(true) => self.measure(side, run, Some(&server)),
            Ok(false) => Err(Stop::Interrupted),
            Err(what) => {
                let (out, err) = server.so_far();
                Err(Stop::Failed(Failure::new(what, &out, &err)))
            }
        };
        if let Some(report) = server.stop() {
            run.measured.server_cpu_seconds = Some(report.cpu);
            run.measured.server_peak_memory = Some(report.memory);
        }
        measured
    }

    /// Runs the command that is measured.
    fn measure(
        &self,
        side: &SidePlan,
        run: &mut Run,
        server: Option<&Running>,
    ) -> Result<(), Stop> {
        let start = |error| failed(format!("the command could not be started: {error}"));
        run.measured.started = since_1970(SystemTime::now());
        let begin = Instant::now();
        let mut command =
            Running::start(self.launcher, Mode::Command, &side.command).map_err(start)?;
        let waited = command.wait(begin + self.plan.timeout, self.interrupt);
        run.measured.seconds = begin.elapsed().as_secs_f64();
        let (out, err, too_much) = command.finish();
        run.out = String::from_utf8_lossy(&out).into_owned();
        run.err = String::from_utf8_lossy(&err).into_owned();
        let what = match waited {
            Waited::Interrupted => return Err(Stop::Interrupted),
            Waited::TimedOut => {
                format!(
                    "was still running after {} s",
                    self.plan.timeout.as_secs_f64()
                )
            }
            Waited::Lost => "its supervisor was killed".into(),
            Waited::Ended(report) => {
                run.measured.exit_code = report.code;
                run.measured.cpu_seconds = Some(report.cpu);
                run.measured.peak_memory = Some(report.memory);
                run.measured.seconds = report.seconds;
                if report.code == Some(0) && !too_much {
                    return Ok(());
                }
                if too_much {
                    format!("printed more than {} MiB", MAX_OUTPUT >> 20)
                } else {
                    report.ending()
                }
            }
        };
        // The reason may be what the server printed.
        let mut all = err;
        if let Some(server) = server {
            let (out, err) = server.so_far();
            all.extend(out);
            all.extend(err);
        }
        Err(Stop::Failed(Failure::new(what, &out, &all)))
    }

    fn clean_up(&self) -> Result<(), Stop> {
        let Some(cleanup) = &self.plan.cleanup else {
            return Ok(());
        };
        let within = match self.interrupt.requested() {
            Some(_) => self.plan.timeout.min(LAST_CLEANUP),
            None => self.plan.timeout,
        };
        // A wish to stop does not leave half of it undone.
        self.shell("--cleanup", cleanup, within, &Interrupt::default())
    }

    fn shell(
        &self,
        option: &str,
        command: &str,
        within: Duration,
        interrupt: &Interrupt,
    ) -> Result<(), Stop> {
        let start = |error| failed(format!("{option} could not be started: {error}"));
        let mut running = Running::start(self.launcher, Mode::Command, command).map_err(start)?;
        let waited = running.wait(Instant::now() + within, interrupt);
        let (out, err, _) = running.finish();
        let what = match waited {
            Waited::Ended(report) if report.code == Some(0) => return Ok(()),
            Waited::Ended(report) => format!("{option} {}", report.ending()),
            Waited::TimedOut => {
                format!(
                    "{option} was still running after {} s",
                    within.as_secs_f64()
                )
            }
            Waited::Lost => format!("{option}: its supervisor was killed"),
            Waited::Interrupted => return Err(Stop::Interrupted),
        };
        Err(Stop::Failed(Failure::new(what, &out, &err)))
    }
}

fn failed(what: String) -> Stop {
    Stop::Failed(Failure::new(what, b"", b""))
}

/// Reads what a run has printed.
pub(crate) fn read(run: &Run, name: &str, plan: &Plan) -> Result<Vec<Record>, Failure> {
    let file = format!("{name}, round {}", run.round);
    let unreadable = |what: String| Failure::new(what, run.out.as_bytes(), run.err.as_bytes());
    let mut records = read_bytes(&file, run.out.as_bytes(), &plan.read)
        .map_err(|error| unreadable(format!("its output could not be read: {error}")))?;
    if records.is_empty() {
        return Err(unreadable("its output has no result".into()));
    }
    let one = records.len() == 1;
    for record in &mut records {
        record.pair = Some(run.round);
        record.started = record.started.or(Some(run.measured.started));
        if one {
            add_cpu(record, run);
        }
    }
    Ok(records)
}

/// Adds the CPU time of the process trees, per 10⁹ bytes that were moved.
fn add_cpu(record: &mut Record, run: &Run) {
    let moved = || {
        let throughput =
            record.get("throughput")? + record.get("throughput.reverse").unwrap_or(0.0);
        Some(throughput / 8.0 * record.get("seconds")?)
    };
    let Some(bytes) = record
        .get("bytes")
        .or_else(moved)
        .filter(|bytes| *bytes > 0.0)
    else {
        return;
    };
    let measured = &run.measured;
    for (name, cpu) in [
        ("cpu.command", measured.cpu_seconds),
        ("cpu.server", measured.server_cpu_seconds),
    ] {
        if let Some(cpu) = cpu {
            record.metrics.push(Metric {
                name: name.into(),
                value: cpu / (bytes / 1e9),
            });
        }
    }
}
