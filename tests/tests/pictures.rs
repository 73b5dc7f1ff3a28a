//! `docs/pictures` makes the pictures that the pages show.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use iperf_harness::{Finished, Peer, Running, paths};

const LIMIT: Duration = Duration::from_secs(300);

fn docs() -> PathBuf {
    paths::workspace().join("docs")
}

fn run(mut command: Command) -> Finished {
    command.env("LC_ALL", "C").env_remove("GITHUB_STEP_SUMMARY");
    let end = Running::start(command).finish(LIMIT);
    assert!(!end.timed_out, "{end}");
    end
}

/// The pictures that pages show.
fn shown() -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(docs()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "md") {
            continue;
        }
        for part in fs::read_to_string(&path).unwrap().split("](").skip(1) {
            let name = part.split(')').next().unwrap();
            if Path::new(name)
                .extension()
                .is_some_and(|kind| kind == "svg")
            {
                names.push(name.to_owned());
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

#[test]
fn the_script_makes_the_pictures_that_the_pages_show() {
    let directory = tempfile::tempdir().unwrap();
    let mut script = Command::new(docs().join("pictures"));
    script
        .arg(directory.path())
        .env("QUICK", "1")
        .env("IPERF_BIN", Peer::Ours.path());
    let end = run(script);
    assert_eq!(end.code(), Some(0), "{end}");
    let mut made: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    made.sort();
    assert_eq!(made, shown());
    for name in made {
        let mut check = Command::new("xmllint");
        check.arg("--noout").arg(directory.path().join(&name));
        let end = run(check);
        assert_eq!(end.code(), Some(0), "{end}");
        for folder in [directory.path(), &docs()] {
            let text = fs::read_to_string(folder.join(&name)).unwrap();
            assert!(
                text.starts_with("<svg ") && text.contains("<circle"),
                "{name}: {text}"
            );
            assert!(text.contains("prefers-color-scheme: dark"), "{name}");
        }
    }
}
