//! Bounded reads of small files of the system, below a root that tests may choose.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

/// The most that is read of a file. The relevant part of `/proc/cpuinfo` is at its beginning.
const MOST: u64 = 8192;

/// The longest text that is taken for a fact.
const LONGEST: usize = 120;

/// Files below a root.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    /// Those of this system.
    pub(super) fn of_system() -> Self {
        Self::below("/")
    }

    /// Those below `root`.
    pub(super) fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The beginning of a file. The path is relative to the root.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let file = File::open(self.root.join(path)).ok()?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes).ok()?;
        // What ends within a character, or is no text, is replaced there.
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The first line of a file, without blanks around it; `None` if nothing is left.
    pub(super) fn line(&self, path: &str) -> Option<String> {
        fact(self.text(path)?.lines().next()?)
    }

    /// The number that a file begins with.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.numbers(path)?.first().copied()
    }

    /// The numbers in the first line of a file.
    pub(super) fn numbers(&self, path: &str) -> Option<Vec<u64>> {
        let line = self.line(path)?;
        let numbers: Result<Vec<_>, _> = line.split_whitespace().map(str::parse).collect();
        numbers.ok().filter(|numbers| !numbers.is_empty())
    }

    /// Whether there is such a file.
    pub(super) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root.join(path)).is_ok()
    }
}

/// A text as a fact: without blanks around it and characters that do something, and of bounded length.
pub(super) fn fact(text: &str) -> Option<String> {
    let text: String = text
        .trim()
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Files with these texts.
    pub(in super::super) fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Files) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let files = Files::below(directory.path());
        (directory, files)
    }

    #[test]
    fn a_file_is_read_to_a_bound_whatever_is_in_it() {
        let (_directory, files) = tree(&[
            ("long", &"x".repeat(100_000)),
            ("empty", "\n"),
            ("three", "4096\t131072\t6291456\n"),
            ("word", "cubic\n"),
            ("negative", "-1\n"),
        ]);
        assert_eq!(files.text("long").unwrap().len(), 8192);
        assert_eq!(files.line("long").unwrap().len(), LONGEST);
        assert_eq!(files.line("empty"), None);
        assert_eq!(files.numbers("three"), Some(vec![4096, 131_072, 6_291_456]));
        assert_eq!(files.number("word"), None);
        assert_eq!(files.number("negative"), None);
        assert_eq!(files.line("nothing/there"), None);
        assert_eq!(files.line(""), None, "a directory");
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let (directory, files) = tree(&[]);
        fs::write(directory.path().join("bytes"), [0xff, 0x1b, b'a', 0xe2]).unwrap();
        assert_eq!(files.line("bytes").unwrap(), "\u{fffd}a\u{fffd}");
    }
}
