//! Every command in the pages is run as it is written there, or the page's source names the test or script that runs it.
//!
//! A comment above a code block decides:
//!
//! ```text
//! <!-- run -->                                   the commands succeed
//! <!-- run; beside: iperf -s; prints: rx mmap --> with a server beside them; the text is in what they print
//! <!-- run; exits: 0 1 -->                       each ends with one of these codes
//! <!-- not run: `tests/packages` does this -->    the reason; files and tests that it names exist
//! ```
//!
//! Blocks of languages that hold no commands (`text`, `json`, `c`) need none. `IPERF_CASE=page.md` runs one page.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod architecture;
mod blocks;
mod links;
mod scene;
mod session;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use iperf_harness::netns::Namespace;
use iperf_harness::{parallel, paths};

use crate::blocks::{Block, Fate};
use crate::session::Session;

/// The Markdown files of the repository, relative to it.
fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(paths::workspace().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = folder.join(&name);
            let skipped = name.starts_with('.') || name == "target" || name == "data";
            if entry.file_type().unwrap().is_dir() && !skipped {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                pages.push(path.into_os_string().into_string().unwrap());
            }
        }
    }
    pages.sort();
    pages
}

fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(paths::workspace().join(page)).unwrap();
    blocks::parse(&text).unwrap_or_else(|error| panic!("{page}:{error}"))
}

#[test]
fn every_block_of_commands_is_run_or_has_a_reason() {
    let functions = functions();
    let (mut run, mut not_run) = (0, 0);
    for page in pages() {
        for block in blocks(&page) {
            match &block.fate {
                Fate::Run { .. } => run += 1,
                Fate::NotRun(reason) => {
                    not_run += 1;
                    let problem = unfounded(reason, &functions);
                    assert_eq!(problem, None, "{page}:{}: {reason}", block.line);
                }
                Fate::Text => {}
            }
        }
    }
    assert!(run >= 25, "{run} blocks run and {not_run} do not");
}

/// What a reason names that is not there: a file, or a test.
fn unfounded(reason: &str, functions: &BTreeSet<String>) -> Option<String> {
    if reason.split_whitespace().count() < 3 {
        return Some("no reason".to_owned());
    }
    let named = reason.split('`').skip(1).step_by(2);
    let exists = |name: &&str| {
        if name.contains('/') {
            return paths::workspace().join(name).exists();
        }
        !name.contains('_') || functions.contains(*name)
    };
    named.filter(|name| !exists(name)).map(str::to_owned).next()
}

/// The names of the functions in the tests.
fn functions() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let folders = ["tests", "crates", "benches"];
    let mut folders: Vec<_> = folders.map(|folder| paths::workspace().join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(path).unwrap();
                let names = text.lines().filter_map(|line| {
                    let (name, _) = line.trim_start().strip_prefix("fn ")?.split_once('(')?;
                    Some(name.to_owned())
                });
                found.extend(names);
            }
        }
    }
    found
}

#[test]
fn the_commands_of_the_pages_do_what_the_pages_say() {
    parallel::each(&pages(), 3, |page| {
        let mut blocks = blocks(page);
        blocks.retain(|block| matches!(block.fate, Fate::Run { .. }));
        if blocks.is_empty() {
            return Ok(());
        }
        let namespace = Namespace::new();
        namespace.inside(|| {
            for block in &blocks {
                let scene = scene::make(Path::new(page));
                let session = Session::new(scene.path());
                let result = session.run(block);
                result.map_err(|error| format!("{page}:{}: {error}", block.line))?;
            }
            Ok(())
        })
    });
}
