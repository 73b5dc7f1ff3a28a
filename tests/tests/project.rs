//! What a stranger relies on before anything is built: versions, the oldest Rust, and the parts of `tests/run`.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use iperf_harness::paths::workspace;
use regex::Regex;
use serde_json::Value;

/// A file of the repository.
fn read(path: &str) -> String {
    let path = workspace().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the group of a pattern matches in a file.
fn found(file: &str, pattern: &str) -> String {
    let text = read(file);
    let pattern = Regex::new(pattern).expect("a pattern");
    let matched = pattern.captures(&text).and_then(|found| found.get(1));
    let matched = matched.unwrap_or_else(|| panic!("{file} has no {pattern}"));
    matched.as_str().to_owned()
}

fn words(text: &str) -> BTreeSet<&str> {
    let separators = |c: char| c == ',' || c.is_whitespace();
    text.split(separators)
        .filter(|word| !word.is_empty())
        .collect()
}

/// The major and minor number of a version.
fn minor(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map(|n| n.parse().expect("a number"));
    (
        numbers.next().expect("a major number"),
        numbers.next().unwrap_or(0),
    )
}

#[test]
fn the_changelog_begins_with_this_version() {
    let newest = found("CHANGELOG.md", r"(?m)^## (\S+)$");
    assert_eq!(newest, env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_page_names_the_same_oldest_rust() {
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    for (file, pattern) in [
        ("README.md", r"Rust (\d+\.\d+)"),
        ("CONTRIBUTING.md", r"Rust (\d+\.\d+)"),
        ("docs/install.md", r"Rust (\d+\.\d+)"),
        (".github/workflows/ci.yml", r"rust-toolchain@(\d\S*)"),
    ] {
        assert_eq!(found(file, pattern), oldest, "{file}");
    }
}

/// A dependency that needs a later Rust would break builds with the oldest one. What the standard library has there is
/// clippy's matter (`incompatible_msrv`).
#[test]
fn no_dependency_needs_a_later_rust() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--all-features",
        ])
        .current_dir(workspace())
        .output()
        .expect("cargo starts");
    let error = String::from_utf8_lossy(&output.stderr);
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|parse| panic!("cargo metadata: {parse}\n{error}"));
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100, "{} packages", packages.len());
    let oldest = minor(env!("CARGO_PKG_RUST_VERSION"));
    for package in packages {
        if let Some(needed) = package["rust_version"].as_str() {
            assert!(minor(needed) <= oldest, "{} needs {needed}", package["id"]);
        }
    }
}

#[test]
fn the_figures_of_the_readme_are_those_of_the_benchmarks() {
    let output = Command::new(workspace().join("docs/readme/figures"))
        .arg("--check")
        .output()
        .expect("python3 runs; tests/run installs it");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
}

#[test]
fn the_workflow_runs_every_part_of_the_tests() {
    let parts = found("tests/run", r"known_parts='([^']+)'");
    let jobs = found(".github/workflows/ci.yml", r"part: \[([^\]]+)\]");
    assert_eq!(words(&jobs), words(&parts));
    let described = read("tests/run");
    for part in words(&parts) {
        assert!(described.contains(&format!("\n#   {part} ")), "{part}");
    }
}

#[test]
fn tests_run_refuses_a_part_that_it_does_not_have() {
    let output = Command::new(workspace().join("tests/run"))
        .arg("nosuch")
        .output()
        .expect("tests/run starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no part \"nosuch\""), "{said}");
    assert!(said.contains("lints release tests packages fuzz"), "{said}");
}
