//! Why a run gave no result, with the end of what the command printed.

use std::fmt;

/// Lines of output that are shown.
const LINES: usize = 8;
/// Characters of a line that are shown.
const WIDTH: usize = 200;

/// A run without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub what: String,
    /// The last lines of the output, of stderr if there are any.
    pub end: Vec<String>,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>, out: &[u8], err: &[u8]) -> Self {
        let mut end = last_lines(out);
        end.extend(last_lines(err));
        let skip = end.len().saturating_sub(LINES);
        Self {
            what: what.into(),
            end: end.split_off(skip),
        }
    }
}

fn last_lines(bytes: &[u8]) -> Vec<String> {
    // More than the lines shown can have.
    let tail = &bytes[bytes.len().saturating_sub(64 << 10)..];
    let text = String::from_utf8_lossy(tail);
    let mut lines: Vec<String> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(LINES)
        .map(|line| {
            line.chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .take(WIDTH)
                .collect()
        })
        .collect();
    lines.reverse();
    lines
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for line in &self.end {
            write!(f, "\n    | {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_output_is_shown_without_control_characters() {
        let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
        let out = lines.join("\n") + "\n\n\n";
        let failure = Failure::new("exit code 1", out.as_bytes(), b"cannot \x1b[1mconnect\n");
        let lines: Vec<String> = failure.to_string().lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "exit code 1");
        assert_eq!(lines.len(), 1 + LINES);
        assert_eq!(lines[LINES - 1], "    | line 99");
        assert_eq!(lines[LINES], "    | cannot  [1mconnect");
    }
}
