//! nuttcp: `N MB /  T sec = R Mbps …`, or with `-fparse` `megabytes=N real_seconds=T rate_Mbps=R …`. MB are 2²⁰ bytes,
//! Mbps 10⁶ bit/s, and the rate is what the receiver got.

use crate::figures::{after, amount, leading};
use crate::input::Lines;
use crate::readers::outcome::{Outcome, push};
use crate::record::{Record, Sample, TestKind};
use crate::tool::Tool;

/// The figures of a line, of an interval or of the whole run.
struct Figures {
    bytes: f64,
    seconds: f64,
    rate: f64,
    /// An end line has CPU shares, an interval has none.
    end: bool,
}

/// Whether a line is one of nuttcp's.
pub(crate) fn is_line(text: &str) -> bool {
    figures(text).is_some()
}

/// Reads every run of the input.
pub(super) fn read(lines: &mut Lines<'_>, out: &mut Vec<Record>) -> Outcome {
    let mut samples = Vec::new();
    let mut clock = 0.0;
    let mut begin = None;
    while let Some(line) = lines.next()? {
        let text = line.text.as_str();
        if text.starts_with("nuttcp") && text.contains(": Error") {
            return Err(lines.refuse(line.number, "the run failed"));
        }
        let Some(figures) = figures(text) else {
            continue;
        };
        let begun = *begin.get_or_insert(line.number);
        if !figures.end {
            let (start, end) = (clock, clock + figures.seconds);
            clock = end;
            if samples.len() < crate::record::MAX_SAMPLES {
                samples.push(Sample::rate(start, end, figures.rate));
            }
            continue;
        }
        let mut record = Record::new(Tool::Nuttcp, lines.file(), begun);
        record.samples = std::mem::take(&mut samples);
        fill(&mut record, text, &figures);
        push(out, record)?;
        clock = 0.0;
        begin = None;
    }
    match begin {
        Some(line) => Err(lines.refuse(
            line,
            "intervals without a final line: the run failed, or the output is cut off",
        )),
        None => Ok(()),
    }
}

fn figures(text: &str) -> Option<Figures> {
    if let Some(rest) = text.strip_prefix("megabytes=") {
        let seconds = after(rest, "real_seconds=").or_else(|| after(rest, "real_sec="))?;
        return Some(Figures {
            bytes: leading(rest)?.0 * 1_048_576.0,
            seconds,
            rate: after(rest, "rate_Mbps=")? * 1e6,
            end: rest.contains("tx_cpu="),
        });
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [
        megabytes,
        "MB",
        "/",
        seconds,
        "sec",
        "=",
        rate,
        "Mbps",
        rest @ ..,
    ] = words.as_slice()
    else {
        return None;
    };
    Some(Figures {
        bytes: amount(megabytes)? * 1_048_576.0,
        seconds: amount(seconds)?,
        rate: amount(rate)? * 1e6,
        end: rest.contains(&"%TX"),
    })
}

fn fill(record: &mut Record, text: &str, figures: &Figures) {
    record.parameters.kind = Some(TestKind::Stream);
    record.set("throughput", figures.rate);
    record.set("seconds", figures.seconds);
    record.set("bytes", figures.bytes);
    let words: Vec<&str> = text.split_whitespace().collect();
    let before = |unit: &str| {
        words
            .windows(2)
            .find(|pair| pair[1] == unit)
            .and_then(|pair| amount(pair[0]))
    };
    let udp = text.contains("drop/pkt") || text.contains("drop=");
    record.parameters.transport = Some(if udp { "udp" } else { "tcp" }.into());
    record.set(
        "retransmits",
        before("retrans").or_else(|| after(text, " retrans=")),
    );
    record.set(
        "rtt",
        before("msRTT")
            .or_else(|| after(text, "rtt_ms="))
            .map(|ms| ms * 1e-3),
    );
    if figures.bytes > 0.0 {
        record.set_cpu(
            "cpu.sender",
            before("%TX").or_else(|| after(text, "tx_cpu=")),
        );
        record.set_cpu(
            "cpu.receiver",
            before("%RX").or_else(|| after(text, "rx_cpu=")),
        );
        record.note("CPU shares are whole percents");
    }
    let dropped = match words.iter().position(|word| *word == "drop/pkt") {
        Some(at) if at >= 3 => amount(words[at - 3]).zip(amount(words[at - 1])),
        _ => after(text, "drop=").zip(after(text, "pkt=")),
    };
    if let Some((dropped, sent)) = dropped.filter(|(_, sent)| *sent > 0.0) {
        record.set_loss("", dropped, sent);
    }
}
