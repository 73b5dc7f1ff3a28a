//! The classic tables: headings whose last line holds the units, then a row of numbers.
//!
//! ```text
//! bytes  bytes   bytes    secs.    10^6bits/sec          bytes  Bytes  bytes    bytes   secs.    per sec
//! 131072  16384  16384    2.11     1306.55               16384  131072 1        1       2.00     18091.59
//!                                                        16384  131072                       (the remote's sockets)
//! ```

use super::{Rate, count, demands, rate_unit};
use crate::figures::number;
use crate::record::{Record, TestKind};

/// The rows of a table.
#[derive(Default)]
pub(super) struct Classic {
    /// What the last column of figures counts, by the headings.
    unit: Option<Rate>,
    /// A unit per CPU demand: µs per transaction instead of per KB.
    demand_per_transaction: bool,
    /// Whether the table has CPU columns.
    demands: bool,
    rows: Vec<Vec<f64>>,
    /// `-v 2`: the mean round trip in µs.
    round_trip: Option<f64>,
}

impl Classic {
    pub(super) fn line(&mut self, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let numbers: Option<Vec<f64>> = words.iter().map(|word| number(word)).collect();
        match numbers {
            Some(row) if !row.is_empty() => self.row(row),
            _ => self.heading(text, &words),
        }
        if self.rows.first().is_some_and(|row| row.len() == 1) {
            return Err(
                "a bare number has neither unit nor kind; run netperf without -P 0 -v 0".into(),
            );
        }
        Ok(())
    }

    fn heading(&mut self, text: &str, words: &[&str]) {
        if !self.rows.is_empty() {
            return;
        }
        if text.contains("per sec") {
            self.unit = Some(Rate::Transactions);
        } else if let Some(unit) = words.iter().find_map(|word| rate_unit(word)) {
            self.unit = Some(unit);
        }
        self.demands |= text.contains("us/");
        self.demand_per_transaction |= text.contains("us/Tr");
    }

    /// The table's rows are its first one or two; `-v 2` adds others of its own.
    fn row(&mut self, row: Vec<f64>) {
        if self.rows.len() < 2 {
            self.rows.push(row);
        } else if self.unit == Some(Rate::Transactions)
            && row.len() == 8
            && self.round_trip.is_none()
        {
            self.round_trip = Some(row[4]);
        }
    }

    pub(super) fn fill(mut self, record: &mut Record) -> Result<(), String> {
        let Some(row) = self.rows.first() else {
            return Err("no row of figures".into());
        };
        if self.unit.is_none()
            && row.len() == 6
            && self.rows.get(1).is_some_and(|second| second.len() == 2)
        {
            // -P 0 leaves the headings out; only request/response tests have rows of this form.
            self.unit = Some(Rate::Transactions);
            record
                .parameters
                .kind
                .get_or_insert(TestKind::RequestResponse);
            record.note(
                "no headings (-P 0): taken for a request/response test by the form of its rows",
            );
        }
        match self.unit {
            Some(Rate::Transactions) => self.transactions(record),
            Some(Rate::Bits(scale)) if row.len() == 6 => self.datagrams(record, scale),
            Some(Rate::Bits(scale)) => self.stream(record, scale),
            None => Err(
                "no headings: the unit of the figures is not known; run netperf without -P 0"
                    .into(),
            ),
        }
    }

    fn stream(&self, record: &mut Record, scale: f64) -> Result<(), String> {
        let row = &self.rows[0];
        let [_receive, _send, message, seconds, rate, rest @ ..] = row.as_slice() else {
            return Err(format!(
                "a row of a stream test has at least 5 figures, this one {}",
                row.len()
            ));
        };
        record.parameters.kind.get_or_insert(TestKind::Stream);
        record.parameters.block = count(&message.to_string());
        record.set("seconds", *seconds);
        record.set("throughput", rate * scale);
        if let ([_, _, local, remote], true) = (rest, self.demands) {
            demands(record, Some(*local), Some(*remote), false);
        }
        Ok(())
    }

    /// The first row is what was sent, the second what arrived.
    fn datagrams(&self, record: &mut Record, scale: f64) -> Result<(), String> {
        let [_, message, seconds, sent, _errors, rate] = self.rows[0][..] else {
            return Err("a row of a UDP stream test has 6 figures".into());
        };
        let Some(&[_, _, received, received_rate]) = self.rows.get(1).map(Vec::as_slice) else {
            return Err("the second row, with what was received, is missing".into());
        };
        record.parameters.block = count(&message.to_string());
        record.set("seconds", seconds);
        record.set("throughput.sent", rate * scale);
        record.set("throughput", received_rate * scale);
        if sent > 0.0 {
            record.set("lost", (sent - received).max(0.0));
            record.set("loss", (1.0 - received / sent).clamp(0.0, 1.0));
        }
        Ok(())
    }

    fn transactions(&self, record: &mut Record) -> Result<(), String> {
        let row = &self.rows[0];
        let [_send, _receive, request, response, seconds, rate, rest @ ..] = row.as_slice() else {
            return Err(format!(
                "a row of a request/response test has at least 6 figures, this one {}",
                row.len()
            ));
        };
        record.parameters.block = count(&request.to_string());
        record.parameters.response = count(&response.to_string());
        record.set("seconds", *seconds);
        record.set("transactions", *rate);
        record.set("latency.mean", self.round_trip.map(|us| us * 1e-6));
        if self.round_trip.is_some() {
            record.note("the mean latency is 1 / rate");
        }
        if let ([_, _, local, remote], true) = (rest, self.demands) {
            demands(
                record,
                Some(*local),
                Some(*remote),
                self.demand_per_transaction,
            );
        }
        Ok(())
    }
}
