//! iperf 2: its text and its CSV (`-y C`).

pub(crate) mod csv;
mod histogram;
mod row;
pub(super) use row::{Row, row};
pub(crate) mod text;

/// Noted where only the sending side's figure is there.
const SENDERS_FIGURE: &str = "the sender's figure; the other side's output has what arrived";
