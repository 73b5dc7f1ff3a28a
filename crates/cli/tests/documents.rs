//! Help, man page and completions are made from one definition, and none of them lacks an option or a subcommand.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use clap::Arg;

fn iperf(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iperf"));
    command.args(words).stdin(Stdio::null()).output().unwrap()
}

fn printed(words: &[&str]) -> String {
    let output = iperf(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names of every option, with their dashes.
fn names() -> BTreeSet<String> {
    let of = |arg: &Arg| -> Vec<String> {
        let short = arg.get_short().map(|letter| format!("-{letter}"));
        let long = arg.get_long_and_visible_aliases().unwrap_or_default();
        let long = long.into_iter().map(|name| format!("--{name}"));
        short.into_iter().chain(long).collect()
    };
    let command = iperf_cli::command("iperf");
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    let names: BTreeSet<String> = options.flat_map(of).collect();
    assert!(names.len() > 110, "{names:?}");
    names
}

/// The subcommands that the help lists.
fn subcommands() -> Vec<String> {
    let help = printed(&["--help"]);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    for name in ["report", "compare", "completions", "man"] {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
    names
}

/// The names, of options and of subcommands, that a text lacks.
fn missing(text: &str) -> Vec<String> {
    let words: BTreeSet<&str> = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .collect();
    let wanted = names().into_iter().chain(subcommands());
    wanted
        .filter(|name| !words.contains(name.as_str()))
        .collect()
}

#[test]
fn the_help_has_every_option() {
    let help = printed(&["-h"]);
    assert_eq!(missing(&help), [""; 0], "{help}");
    assert_eq!(help, printed(&["--help"]));
    assert!(missing("--bitrate man").contains(&"--bandwidth".to_owned()));
}

#[test]
fn the_man_page_has_every_option() {
    let page = printed(&["man"]).replace("\\-", "-").replace("\\fR", " ");
    let page = page.replace("\\fB", " ").replace("\\fI", " ");
    for name in subcommands() {
        assert!(page.contains(&format!("iperf-{name}(1)")), "{name}");
    }
    let page = page.replace("iperf-", "iperf ");
    assert_eq!(missing(&page), [""; 0], "{page}");
    for section in ["NAME", "SYNOPSIS", "CLIENT", "SERVER", "EXAMPLES"] {
        assert!(
            page.contains(&format!(".SH {section}\n")),
            "{section} in {page}"
        );
    }
}

#[test]
fn the_completions_have_every_option() {
    for shell in ["bash", "zsh"] {
        let script = printed(&["completions", shell]);
        assert_eq!(missing(&script), [""; 0], "{shell}: {script}");
    }
    // fish has names without dashes: -s for a letter, -l for a long name.
    let script = printed(&["completions", "fish"]);
    let words: Vec<&str> = script.split_whitespace().collect();
    let has = |flag: &str, name: &str| words.windows(2).any(|pair| pair == [flag, name]);
    for name in names() {
        let found = match name.strip_prefix("--") {
            Some(long) => has("-l", long),
            None => has("-s", &name[1..]),
        };
        assert!(found, "{name}: {script}");
    }
}

/// Without these, zsh offers the client's units after `report --format=`, and fish no value of an option before a subcommand.
#[test]
fn the_corrections_of_the_completions_are_applied() {
    let zsh = printed(&["completions", "zsh"]);
    assert!(zsh.contains("(-s -S -C -A '-*')"), "{zsh}");
    assert!(!zsh.contains(":words:"), "{zsh}");
    let fish = printed(&["completions", "fish"]);
    assert!(fish.contains("or return 0\n"), "{fish}");
}

#[test]
fn every_subcommand_has_help_and_a_man_page() {
    for name in subcommands() {
        let help = printed(&[&name, "--help"]);
        assert!(help.contains(&format!("Usage: iperf {name}")), "{help}");
        let page = printed(&["man", &name]);
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
}

#[test]
fn mistakes_of_subcommands_exit_with_2() {
    for words in [
        &["completions"][..],
        &["completions", "nosuch"],
        &["man", "nosuch"],
        &["man", "--nosuch"],
    ] {
        let output = iperf(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{words:?}: {output:?}");
    }
}
