//! The progress of a bench: a bar on a terminal, a line a run elsewhere, both on stderr.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use iperf_results::format::shown;
use iperf_runs::{Observer, Run};

use super::output::note;

/// The figures that the line of a run shows, where it has them.
const FIGURES: &[&str] = &["throughput", "transactions", "latency.p99"];

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    rounds: u64,
    last: String,
    /// When the first run here began, and how many were done before.
    begun: Option<(Instant, u64)>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style = "{wide_bar} {pos}/{len} runs{prefix}\n{msg}";
            bar.set_style(
                ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        });
        Self {
            bar,
            rounds: 0,
            last: String::new(),
            begun: None,
        }
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn begins(&mut self, name: &str, round: Option<u64>, rounds: u64, done: u64, of: u64) {
        self.rounds = rounds;
        let Some(bar) = &self.bar else {
            return;
        };
        // It is drawn here and not by a timer, which would disturb the run.
        let at = round.map_or_else(
            || "warm-up".to_owned(),
            |round| format!("round {round} of {rounds}"),
        );
        let &mut (begun, before) = self.begun.get_or_insert((Instant::now(), done));
        bar.set_prefix(left(
            begun.elapsed(),
            done.saturating_sub(before),
            of.saturating_sub(done),
        ));
        bar.set_length(of);
        bar.set_position(done);
        bar.set_message(format!("{at}: {name} is running{}", self.last));
        bar.tick();
    }

    fn ended(&mut self, name: &str, run: &Run) {
        let at = match run.round {
            0 => "warm-up".to_owned(),
            round => format!("round {round} of {}", self.rounds),
        };
        match &run.result {
            Err(failure) => self.line(&format!("{at}: {name} failed: {failure}")),
            Ok(records) => {
                let figures: Vec<String> = records
                    .iter()
                    .flat_map(|record| &record.metrics)
                    .filter(|metric| FIGURES.contains(&metric.name.as_str()))
                    .map(|metric| format!("{} {}", metric.name, shown(metric)))
                    .collect();
                let figures = figures.join(", ");
                self.last = format!("; {name} before: {figures}");
                if self.bar.is_none() {
                    note(&format!("{at}: {name}: {figures}"));
                }
            }
        }
    }
}

/// How long the runs that are left take, at the pace of those that were done; unknown before the first.
fn left(elapsed: Duration, done: u64, left: u64) -> String {
    if done == 0 {
        return String::new();
    }
    let seconds = elapsed.as_secs_f64() / done as f64 * left as f64;
    match seconds {
        _ if seconds < 120.0 => format!(", {seconds:.0} s left"),
        _ => format!(", {:.0} min left", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_known_after_the_first_run() {
        let shown = |done, of_left| left(Duration::from_secs(10), done, of_left);
        assert_eq!(shown(0, 20), "");
        assert_eq!(shown(2, 18), ", 90 s left");
        assert_eq!(shown(1, 30), ", 5 min left");
    }
}
