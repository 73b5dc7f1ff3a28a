//! docs/architecture.md agrees with the code: the crates, what each depends on, and the modules that it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use iperf_harness::{Problems, paths};
use regex::Regex;

fn page() -> String {
    fs::read_to_string(paths::workspace().join("docs/architecture.md")).unwrap()
}

/// The crates of this workspace that a crate depends on, without `iperf-` before their names.
fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest = paths::workspace().join(format!("crates/{name}/Cargo.toml"));
    let text = fs::read_to_string(manifest).unwrap();
    let section = text.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let lines = section.lines().filter(|line| line.starts_with("iperf"));
    let names = lines.filter_map(|line| line.split(['.', ' ']).next());
    names
        .map(|name| name.trim_start_matches("iperf-").to_owned())
        .collect()
}

#[test]
fn the_table_of_crates_has_their_dependencies() {
    let row = Regex::new(r"(?m)^\| `(\w+)` \|.*\| ([^|]*) \|$").unwrap();
    let mut problems = Problems::new();
    let mut listed = BTreeSet::new();
    for found in row.captures_iter(&page()) {
        let name = &found[1];
        if !paths::workspace().join("crates").join(name).is_dir() {
            continue;
        }
        let words = found[2]
            .split([',', ' '])
            .filter(|word| !word.is_empty() && *word != "–");
        let said: BTreeSet<String> = words.map(str::to_owned).collect();
        problems.equal(format!("what {name} depends on"), said, dependencies(name));
        listed.insert(name.to_owned());
    }
    let crates = fs::read_dir(paths::workspace().join("crates")).unwrap();
    let crates = crates.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    problems.equal("the crates", listed, crates.collect());
    problems.assert_none("docs/architecture.md");
}

/// Whether a path of modules exists below a folder, or ends with an item that a file of its last module names.
fn leads_somewhere(mut folder: std::path::PathBuf, path: &[&str]) -> bool {
    for (depth, part) in path.iter().enumerate() {
        let (file, inner) = (folder.join(format!("{part}.rs")), folder.join(part));
        if file.is_file() && !inner.is_dir() {
            let rest = &path[depth + 1..];
            return rest.is_empty() || names(&file, rest[0]);
        }
        if !file.is_file() && !inner.is_dir() {
            return ["mod.rs", "lib.rs"]
                .iter()
                .any(|file| names(&folder.join(file), part))
                || names(&folder.with_extension("rs"), part);
        }
        folder = inner;
    }
    true
}

fn names(file: &Path, item: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.contains(item))
}

#[test]
fn the_modules_that_it_names_exist() {
    let path = Regex::new(r"`([a-z_]+)((?:::[A-Za-z_]+)+)`").unwrap();
    let mut problems = Problems::new();
    let mut seen = 0;
    for found in path.captures_iter(&page()) {
        let source = paths::workspace()
            .join("crates")
            .join(&found[1])
            .join("src");
        if !source.is_dir() {
            problems.add(format!("no crate for {}", &found[0]));
            continue;
        }
        seen += 1;
        let parts: Vec<&str> = found[2].split("::").skip(1).collect();
        problems.holds(format!("no {}", &found[0]), leads_somewhere(source, &parts));
    }
    problems.assert_none("docs/architecture.md");
    assert!(seen > 40, "{seen} names");
}
