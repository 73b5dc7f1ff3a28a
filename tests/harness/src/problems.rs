//! Everything that a look at a result found wrong.

use std::fmt::{self, Debug, Display};

/// Collects what is wrong, so that one run shows all of it.
#[derive(Debug, Default)]
pub struct Problems {
    wrong: Vec<String>,
}

impl Problems {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `what` must hold.
    pub fn holds(&mut self, what: impl Into<String>, condition: bool) {
        if !condition {
            self.wrong.push(what.into());
        }
    }

    /// `what` must be `want`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is compared is mostly made for it"
    )]
    pub fn equal<T: PartialEq + Debug>(&mut self, what: impl Into<String>, got: T, want: T) {
        if got != want {
            self.wrong
                .push(format!("{}: {got:?}, not {want:?}", what.into()));
        }
    }

    /// `what` must be a number from `low` to `high`.
    pub fn between(&mut self, what: impl Into<String>, got: Option<f64>, low: f64, high: f64) {
        if !got.is_some_and(|got| (low..=high).contains(&got)) {
            self.wrong
                .push(format!("{}: {got:?}, not {low} to {high}", what.into()));
        }
    }

    /// `what` must be a number above 0.
    pub fn positive(&mut self, what: impl Into<String>, got: Option<i64>) {
        if got.is_none_or(|got| got <= 0) {
            self.wrong
                .push(format!("{}: {got:?}, not above 0", what.into()));
        }
    }

    /// Something is wrong.
    pub fn add(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    /// Nothing was found.
    pub fn is_empty(&self) -> bool {
        self.wrong.is_empty()
    }

    /// `Ok` if nothing was found; else all of it, followed by the story.
    pub fn into_result(self, story: impl Display) -> Result<(), String> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(format!("{self}\n{story}"))
        }
    }

    /// Panics with everything that was found, followed by the story.
    pub fn assert_none(self, story: impl Display) {
        if let Err(report) = self.into_result(story) {
            panic!("{report}");
        }
    }
}

impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 25;
        for line in self.wrong.iter().take(SHOWN) {
            writeln!(f, "✗ {line}")?;
        }
        if self.wrong.len() > SHOWN {
            writeln!(f, "✗ … and {} more", self.wrong.len() - SHOWN)?;
        }
        Ok(())
    }
}
