//! `iperf compare BASE NEW…`, or `--base FILE… --new FILE…`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use iperf_results::compare::{Comparison, Margin, Outcome, Requirement, Settings, Side};
use iperf_results::format::{self, Format};

use super::output::{append, failed, note, print, stdout};
use super::printed::CompareFormatArgs;
use super::{InputArgs, UNREADABLE};

/// Something gated is worse, or a requirement is missed.
const FAILED: u8 = 1;
/// Inconclusive, with `--strict-verdict`.
const INCONCLUSIVE: u8 = 3;
/// Runs that cannot be compared.
const NOT_COMPARABLE: u8 = 4;

/// Decide whether new runs are better, worse, the same, or inconclusive
///
/// Runs are the samples: give several of each side, interleaved if you can. Exit code: 0 same or better, 1 worse or a
/// requirement missed, 2 usage or unreadable input, 3 inconclusive with --strict-verdict, 4 not comparable.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The sides, one file or directory each; the first is the base
    #[arg(value_names = ["BASE", "NEW"], num_args = 2.., required_unless_present_any = ["base", "new"], conflicts_with_all = ["base", "new"])]
    sides: Vec<PathBuf>,
    /// Results of the base
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "new", help_heading = "Input")]
    base: Vec<PathBuf>,
    /// Results to compare with the base
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "base", help_heading = "Input")]
    new: Vec<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    verdict: VerdictArgs,
    #[command(flatten)]
    printed: CompareFormatArgs,
}

/// What makes a verdict.
#[derive(Debug, Args)]
pub(super) struct VerdictArgs {
    /// How far a metric may change and still count as the same: throughput=3%, latency.p99=20us [5 %, latencies 10 %]
    #[arg(long, value_name = "METRIC=SIZE", help_heading = "Verdict")]
    margin: Vec<Margin>,
    /// Fail unless the median of the new runs meets it: 'throughput>=9.4G', 'latency.p99<200us', 'zerocopy.rx.mapped>=95%'
    #[arg(long, value_name = "CONDITION", help_heading = "Verdict")]
    require: Vec<Requirement>,
    /// Parameters that may differ between the runs, separated by commas
    #[arg(
        long,
        value_name = "PARAMETER",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Verdict"
    )]
    ignore: Vec<String>,
    /// Exit with 3 if a verdict is inconclusive
    #[arg(long, help_heading = "Verdict")]
    strict_verdict: bool,
}

impl VerdictArgs {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            margins: self.margin.clone(),
            requirements: self.require.clone(),
            ignore: self.ignore.clone(),
        }
    }
}

pub(super) fn run(args: &CompareArgs) -> ExitCode {
    let Some(sides) = read(args) else {
        return ExitCode::from(UNREADABLE);
    };
    conclude(&sides, &args.verdict, &args.printed, "")
}

/// Compares, prints after `heading`, and gives the exit code.
pub(super) fn conclude(
    sides: &[Side],
    verdict: &VerdictArgs,
    args: &CompareFormatArgs,
    heading: &str,
) -> ExitCode {
    for name in unknown(&verdict.ignore, sides) {
        note(&format!(
            "warning: --ignore {name}: no run has such a parameter; they have {}",
            parameters(sides).join(", ")
        ));
    }
    let comparison = Comparison::new(sides, &verdict.settings());
    let text = format::comparison(args.format, sides, &comparison);
    let text = format!("{heading}{text}");
    let printed = match args.format {
        Format::Github => github(args.output.as_deref(), &text, &comparison),
        _ => print(args.output.as_deref(), &text),
    };
    if let Err(error) = printed {
        return failed(&error);
    }
    match comparison.outcome() {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::from(FAILED),
        Outcome::NotComparable => {
            for reason in &comparison.incomparable {
                note(&format!("not compared: {reason}"));
            }
            ExitCode::from(NOT_COMPARABLE)
        }
        Outcome::Inconclusive if verdict.strict_verdict => ExitCode::from(INCONCLUSIVE),
        Outcome::Inconclusive => {
            note("warning: inconclusive, these runs do not show whether new is worse");
            ExitCode::SUCCESS
        }
    }
}

/// The names of `--ignore` that no run has.
fn unknown<'a>(ignored: &'a [String], sides: &[Side]) -> Vec<&'a str> {
    let known = parameters(sides);
    let names = ignored.iter().map(String::as_str);
    names.filter(|name| !known.contains(name)).collect()
}

/// The names of the parameters of all runs.
fn parameters(sides: &[Side]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for record in sides.iter().flat_map(|side| &side.records) {
        for (name, _) in record.parameters.named() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// Reads all sides, or reports what could not be read.
fn read(args: &CompareArgs) -> Option<Vec<Side>> {
    let sides: Vec<Option<Side>> = if args.sides.is_empty() {
        vec![
            side("base".into(), &args.base, &args.input),
            side("new".into(), &args.new, &args.input),
        ]
    } else {
        args.sides
            .iter()
            .map(|path| side(name(path), std::slice::from_ref(path), &args.input))
            .collect()
    };
    sides.into_iter().collect()
}

fn side(name: String, paths: &[PathBuf], input: &InputArgs) -> Option<Side> {
    let (records, errors) = input.read(paths);
    errors.is_empty().then_some(Side { name, records })
}

/// What a side is called: its file's or directory's own name.
fn name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// The summary goes to the file that the runner names, or to stdout before the annotations.
fn github(output: Option<&Path>, summary: &str, comparison: &Comparison) -> Result<(), String> {
    match (output, std::env::var_os("GITHUB_STEP_SUMMARY")) {
        (Some(path), _) => print(Some(path), summary)?,
        (None, Some(path)) => {
            let path = PathBuf::from(path);
            append(&path, summary).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        (None, None) => print(None, summary)?,
    }
    stdout(&format::annotations(comparison)).map_err(|error| format!("stdout: {error}"))
}
