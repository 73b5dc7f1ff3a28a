//! Text output without its figures, so that two runs of the same test can be compared line by line.
//!
//! ```text
//! [  4]   0.00-1.00   sec  1.41 GBytes  12.1 Gbits/sec    0    895 KBytes
//! [a] <span> sec  <n> Bytes  <n> bits/sec  <r>   <n> Bytes
//! ```
//!
//! Columns are checked while they are masked: a figure that is not as wide as iperf3 prints it stays as it is and
//! shows up as a difference. Intervals repeat; only the first of equal ones that follow each other is kept,
//! because how many there are depends on the clock.

use std::sync::LazyLock;

use regex::{Captures, Regex};

macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($text).expect("the pattern is right"));
    };
}

pattern!(
    STAMP,
    r"^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} "
);
pattern!(CLOCK, r"^\d\d:\d\d:\d\d ");
pattern!(VERSION, r"iperf 3\.\d.*$");
pattern!(SYSTEM, r"\bLinux .*$");
pattern!(COOKIE, r"Cookie: [a-z2-7]{36}$");
pattern!(
    DATE,
    r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
);
pattern!(CONGESTION, r"^(snd|rcv)_tcp_congestion [a-z0-9_]+$");
pattern!(STREAM, r"\[( *\d+)\]");
pattern!(SPAN, r"\] ( *\d+\.\d\d)-(\d+\.\d\d *) sec");
pattern!(SCALED, r"([ .\d]{4}|\d{5,}) [KMGT]?(Bytes|Byte|bits)");
pattern!(DATAGRAMS, r"/sec ( {10})? \d+  (\(omitted\))?$");
pattern!(JITTER, r"/sec  \d+\.\d{3} ms  ");
pattern!(RETRANSMITS, r"/sec  ( {0,2}\d+)");
pattern!(FIGURE, r"\d+(\.\d+)*");

/// The lines of an output with their figures masked and repeated intervals left out.
pub fn mask(text: &str) -> Vec<String> {
    let (mut own, mut servers) = (Vec::new(), None);
    let lines = text.lines().map(|line| {
        // The numbers of the two ends have nothing to do with each other. An empty line ends the server's.
        match line {
            "Server output:" => servers = Some(Vec::new()),
            "" => servers = None,
            _ => {}
        }
        mask_line(line, servers.as_mut().unwrap_or(&mut own))
    });
    collapse(lines.collect())
}

fn mask_line(line: &str, streams: &mut Vec<String>) -> String {
    let line = STAMP.replace(line, "<stamp> ");
    let line = CLOCK.replace(&line, "<clock> ");
    let line = VERSION.replace(&line, "iperf <version>");
    let line = SYSTEM.replace(&line, "Linux <system>");
    let line = COOKIE.replace(&line, "Cookie: <cookie>");
    let line = DATE.replace_all(&line, "<date>");
    let line = CONGESTION.replace(&line, "${1}_tcp_congestion <name>");
    // Letters stand for the masks until all figures are gone; those of a real output are not touched.
    let line = SPAN.replace(&line, |found: &Captures<'_>| {
        let (start, end) = (&found[1], &found[2]);
        let start_fits = format!("{:>6}", start.trim_start()) == *start;
        let end_fits = format!("{:<6}", end.trim_end()) == *end;
        if start_fits && end_fits {
            "] <span> sec".to_owned()
        } else {
            format!("] <span {start:?} {end:?}> sec")
        }
    });
    let line = DATAGRAMS.replace(&line, "/sec $1 <datagrams>  $2");
    let line = JITTER.replace(&line, "/sec  <jitter> ms  ");
    let line = RETRANSMITS.replace(&line, |found: &Captures<'_>| {
        if format!("{:>3}", found[1].trim_start()) == found[1] {
            "/sec  <r>".to_owned()
        } else {
            format!("/sec  <r {:?}>", &found[1])
        }
    });
    let line = SCALED.replace_all(&line, "<n> $2");
    let line = STREAM.replace_all(&line, |found: &Captures<'_>| {
        let id = found[1].trim_start().to_owned();
        let fits = format!("{id:>3}") == found[1];
        let index = streams
            .iter()
            .position(|known| *known == id)
            .unwrap_or_else(|| {
                streams.push(id);
                streams.len() - 1
            });
        let letter = char::from(b'a' + u8::try_from(index % 26).unwrap_or(0));
        if fits {
            format!("[{letter}]")
        } else {
            format!("[{letter} {:?}]", &found[1])
        }
    });
    FIGURE.replace_all(&line, "#").into_owned()
}

/// Leaves out what repeats the lines right before it, be it one line or a group of lines.
fn collapse(mut lines: Vec<String>) -> Vec<String> {
    for length in 1..=lines.len() / 2 {
        let mut start = 0;
        while start + 2 * length <= lines.len() {
            let (first, second) = (start..start + length, start + length..start + 2 * length);
            if lines[first] == lines[second.clone()] {
                lines.drain(second);
            } else {
                start += 1;
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_go_and_columns_stay() {
        let wide = "[  4]   0.00-1.00   sec  1.41 GBytes  12.1 Gbits/sec    0    895 KBytes       ";
        let same =
            "[ 13]  10.00-11.00  sec   141 KBytes  20940 Kbits/sec   17   1.37 MBytes       ";
        assert_eq!(mask(wide), mask(same));
        assert_eq!(
            mask(wide),
            ["[a] <span> sec  <n> Bytes  <n> bits/sec  <r>   <n> Bytes       "]
        );
    }

    #[test]
    fn a_wrong_column_shows() {
        let right =
            "[  4]   0.00-1.00   sec  1.41 GBytes  12.1 Gbits/sec                  receiver";
        for wrong in [
            "[ 4]   0.00-1.00   sec  1.41 GBytes  12.1 Gbits/sec                  receiver",
            "[  4]  0.00-1.00   sec  1.41 GBytes  12.1 Gbits/sec                  receiver",
            "[  4]   0.00-1.00  sec  1.41 GBytes  12.1 Gbits/sec                  receiver",
            "[  4]   0.00-1.00   sec  1.4 GBytes  12.1 Gbits/sec                  receiver",
            "[  4]   0.00-1.00   sec  1.41 GBytes  12.1 Gbits/sec                 receiver",
            "[  4]   0.00-1.00   sec  1.41 GBytes  12.1 Gbits/sec    0            receiver",
            "[  4]   0.00-1.00   sec  1.41 GBytes  12.1 GBytes/sec                  receiver",
        ] {
            assert_ne!(mask(right), mask(wrong), "{wrong}");
        }
        let retransmits = |n| mask(&format!("/sec  {n}            sender"));
        assert_eq!(retransmits("  0"), retransmits("123"));
        assert_ne!(retransmits("  0"), retransmits(" 0"));
    }

    #[test]
    fn datagrams_are_not_aligned() {
        let sent = |count| {
            mask(&format!(
                "[  5]   0.00-1.00   sec   129 KBytes  1.06 Mbits/sec  {count}  "
            ))
        };
        assert_eq!(sent("7"), sent("81234"));
        assert_ne!(sent("7"), sent(" 7"));
        let received = |rest| mask(&format!("/sec  {rest} (0%)  receiver"));
        assert_eq!(received("0.004 ms  0/132"), received("120.125 ms  12/4711"));
        assert_ne!(received("0.004 ms  0/132"), received("0.04 ms  0/132"));
    }

    #[test]
    fn repeated_intervals_are_one_and_streams_are_not() {
        let text = "[  4] x\n[  6] x\n[SUM] x\n- -\n[  4] x\n[  6] x\n[SUM] x\n- -\n[  4] end\n";
        assert_eq!(mask(text), ["[a] x", "[b] x", "[SUM] x", "- -", "[a] end"]);
    }
}
