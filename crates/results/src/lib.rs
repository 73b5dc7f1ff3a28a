//! Results of network benchmarks, printed by any of the supported tools: one [`Record`] per run.
//!
//! ```text
//!  file, directory, stdin ──► input ──► tool (by content) ──► readers::* ──► Record
//! ```
//!
//! A reader knows one format and its traps. It corrects what can be corrected (half round trips, binary units under
//! decimal names, rates diluted by set-up) and notes it in the record; it refuses, with the reason, what cannot be
//! trusted. Inputs are read once, front to back, in bounded memory; every error names file and line.

pub mod compare;
mod detect;
mod error;
mod figures;
pub mod format;
mod input;
mod metric;
mod open;
mod readers;
mod record;
pub mod stats;
mod tool;

pub use error::{ReadError, ReadErrorKind};
pub use input::ReadOptions;
pub use metric::{Better, Metric, Unit, definition, unknown_metric};
pub use open::{read_all, read_bytes};
pub use readers::iperf_json::{from_document, target_of};
pub use record::{
    Direction, FailedRun, MAX_SAMPLES, Parameters, Record, Sample, Source, Target, TestKind,
};
pub use tool::Tool;
