//! Rules for source files that the compiler does not check: their length, and no module of a crate that imports from
//! one that imports from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use iperf_harness::Problems;
use iperf_harness::paths::workspace;
use regex::Regex;

/// The most lines of a file.
const LONGEST: usize = 500;

/// All Rust files below a folder of the repository.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let mut f = Problems::new();
    for folder in ["crates", "tests", "benches", "fuzz"] {
        for path in sources(&workspace().join(folder)) {
            let lines = fs::read_to_string(&path).expect("a text").lines().count();
            f.holds(
                format!("{} has {lines} lines", path.display()),
                lines <= LONGEST,
            );
        }
    }
    f.assert_none("");
}

/// The modules of a crate by their paths (the root's is empty), and what each imports from others.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn imports(src: &Path) -> Imports {
    let files = sources(src).into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("a text");
        (
            module(path.strip_prefix(src).expect("below the crate")),
            text,
        )
    });
    let files: BTreeMap<String, String> = files.collect();
    let known: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    let of = |name: &str, text: &str| {
        let imported = paths(name, text).map(|path| defining(&path, &known));
        imported.filter(|from| from != name).collect()
    };
    let is_test = |name: &str| name.split("::").any(|part| part == "tests");
    let modules = files.iter().filter(|(name, _)| !is_test(name));
    modules
        .map(|(name, text)| (name.clone(), of(name, text)))
        .collect()
}

/// `a/mod.rs` and `a.rs` are `a`; the root is empty.
fn module(file: &Path) -> String {
    let name = file.with_extension("").to_string_lossy().replace('/', "::");
    let name = name
        .strip_suffix("mod")
        .map_or(&*name, |folder| folder.trim_end_matches(':'));
    if matches!(name, "lib" | "main") {
        String::new()
    } else {
        name.to_owned()
    }
}

/// The paths that a module names from the root of its crate, or from its parent, each with what it names there.
fn paths(name: &str, text: &str) -> impl Iterator<Item = String> {
    let comments = Regex::new("//[^\n]*").expect("a pattern");
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let text = comments.replace_all(&text[..tests], "").into_owned();
    let parent = name
        .rsplit_once("::")
        .map_or("", |(parent, _)| parent)
        .to_owned();
    let path = Regex::new(r"\b(crate|super)::((?:\w+::)*)(\w+|\{[^}]*\})").expect("a pattern");
    let word = Regex::new(r"[\w:]+").expect("a pattern");
    let found: Vec<String> = path
        .captures_iter(&text)
        .flat_map(|found| {
            let base = if &found[1] == "super" { &parent } else { "" };
            let start = format!("{base}::{}", &found[2]);
            let ends = word.find_iter(&found[3]).map(|end| end.as_str().to_owned());
            ends.map(|end| format!("{start}{end}")).collect::<Vec<_>>()
        })
        .collect();
    found.into_iter()
}

/// The module that a path leads to, or through.
fn defining(path: &str, known: &BTreeSet<&str>) -> String {
    let mut path = path.trim_start_matches(':');
    while !known.contains(path) {
        path = path.rsplit_once("::").map_or("", |(parent, _)| parent);
    }
    path.to_owned()
}

/// Modules that import from themselves by way of others.
fn circles(imports: &Imports) -> BTreeSet<&str> {
    let reached = |start: &str| {
        let mut reached = BTreeSet::new();
        let mut next = vec![start];
        while let Some(name) = next.pop() {
            for from in imports.get(name).into_iter().flatten() {
                if reached.insert(from.as_str()) {
                    next.push(from);
                }
            }
        }
        reached
    };
    let names = imports.keys().map(String::as_str);
    names.filter(|name| reached(name).contains(name)).collect()
}

#[test]
fn no_module_imports_from_itself_by_way_of_others() {
    let mut f = Problems::new();
    let crates = fs::read_dir(workspace().join("crates")).expect("the crates");
    for member in crates {
        let member = member.expect("a crate").path();
        let imports = imports(&member.join("src"));
        f.holds(
            format!("{} has modules", member.display()),
            !imports.is_empty(),
        );
        let circles = circles(&imports);
        f.holds(
            format!("{}: {circles:?}", member.display()),
            circles.is_empty(),
        );
    }
    f.assert_none("");
}

#[test]
fn a_circle_of_imports_is_found() {
    let imports = |list: &[(&str, &str)]| -> Imports {
        let names = list.iter().flat_map(|(name, from)| [*name, *from]);
        let mut imports: Imports = names
            .map(|name| (name.to_owned(), BTreeSet::new()))
            .collect();
        for (name, from) in list {
            imports
                .entry((*name).to_owned())
                .or_default()
                .insert((*from).to_owned());
        }
        imports
    };
    let tree = imports(&[("a", "b"), ("a", "c"), ("b", "c")]);
    assert!(circles(&tree).is_empty());
    let circle = imports(&[("a", "b"), ("b", "c"), ("c", "b")]);
    assert_eq!(circles(&circle), BTreeSet::from(["b", "c"]));
    let named = paths(
        "a::b",
        "use crate::{c, d::e};\nuse super::f;\n// crate::g\n",
    );
    assert_eq!(named.collect::<Vec<_>>(), ["::c", "::d::e", "a::f"]);
    let known = BTreeSet::from(["", "d"]);
    assert_eq!(defining("::d::e", &known), "d");
    assert_eq!(module(Path::new("a/mod.rs")), "a");
    assert_eq!(module(Path::new("lib.rs")), "");
}
