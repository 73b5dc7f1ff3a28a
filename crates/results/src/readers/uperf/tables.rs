//! The tables behind the progress lines. `Group Details` is never read: it divides bytes by a flowop's count and
//! multiplies them by the number of flowops.

use super::progress::bytes;
use crate::figures::{amount, leading, seconds};

/// A run is not that long: threads that never ended are printed with the time since 1970.
const ENDLESS: f64 = 1e8;
/// More rows than any profile has.
const MAX_ROWS: usize = 10_000;

/// The rows that matter.
#[derive(Default)]
pub(super) struct Tables {
    at: Table,
    /// `TxnK`, K from 0; a row a group.
    pub(super) transactions: Vec<(u64, Times)>,
    pub(super) flowops: Vec<(String, Times)>,
    /// Host, seconds, bytes.
    pub(super) hosts: Vec<(String, f64, f64)>,
    /// Slave's differences from the master in percent: time and data.
    pub(super) difference: Option<(f64, f64)>,
    /// The largest share of errors in percent.
    pub(super) errors: f64,
}

/// The times of a transaction or flowop, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) count: f64,
    pub(super) mean: f64,
    pub(super) max: f64,
    pub(super) min: f64,
}

#[derive(Default, Clone, Copy)]
enum Table {
    #[default]
    Other,
    Strands,
    Transactions,
    Flowops,
    Run,
}

impl Tables {
    /// Reads a line; the error is why the run cannot be trusted.
    pub(super) fn line(&mut self, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["Strand", "Details", ..] => self.at = Table::Strands,
            ["Txn", "Count", ..] => self.at = Table::Transactions,
            ["Flowop", "Count", ..] => self.at = Table::Flowops,
            ["Run", "Statistics", ..] => self.at = Table::Run,
            ["Group" | "Netstat", ..] => self.at = Table::Other,
            _ => return self.row(text, &words),
        }
        Ok(())
    }

    fn row(&mut self, text: &str, words: &[&str]) -> Result<(), String> {
        match self.at {
            Table::Other => {}
            Table::Strands => {
                let time = text.split_once('/').and_then(|(_, rest)| leading(rest));
                if time.is_some_and(|(value, unit)| unit.starts_with("(s)") && value > ENDLESS) {
                    return Err("a thread never ended".into());
                }
            }
            Table::Transactions => {
                let number = words
                    .first()
                    .and_then(|name| name.strip_prefix("Txn")?.parse().ok());
                let row = number.zip(times(words));
                self.transactions
                    .extend(row.filter(|_| self.transactions.len() < MAX_ROWS));
            }
            Table::Flowops => {
                if let Some(times) = times(words).filter(|_| self.flowops.len() < MAX_ROWS) {
                    self.flowops.push((words[0].to_owned(), times));
                }
            }
            Table::Run => self.host(words),
        }
        Ok(())
    }

    fn host(&mut self, words: &[&str]) {
        let percent = |word: &str| word.strip_suffix('%').and_then(crate::figures::number);
        if let ["Difference(%)", time, data, ..] = words {
            self.difference = percent(time).zip(percent(data));
        } else if let [.., host, time, data, _rate, _operations, errors] = words
            && let (Some(time), Some(data), Some(errors)) =
                (seconds(time), bytes(data), amount(errors))
        {
            // With -v the words before the host are glued to it.
            let host = host.strip_prefix("Success").unwrap_or(host).to_owned();
            if self.hosts.len() < MAX_ROWS {
                self.hosts.push((host, time, data));
            }
            self.errors = self.errors.max(errors);
        }
    }
}

fn times(words: &[&str]) -> Option<Times> {
    let [_, count, mean, _cpu, max, min] = words else {
        return None;
    };
    Some(Times {
        count: amount(count)?,
        mean: seconds(mean)?,
        max: seconds(max)?,
        min: seconds(min)?,
    })
}
