//! The options of every command in README.md and docs/ are valid. `tests/tests/documented` runs the commands.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;

/// The command lines of a page that run tests: lines of its code blocks, and code within the text that begins with
/// `iperf -`. What a shell would have to expand, and outlines (`[…]`, `…`), are left out.
fn test_commands(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let (mut inside, mut found) = (false, Vec::new());
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            inside = language == "sh";
        } else if inside {
            found.push(line.trim());
        } else {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    let commands = found.into_iter().filter(|line| line.starts_with("iperf "));
    let plain = commands.map(|line| line.split([';', '>', '&', '|']).next().unwrap_or(line));
    let plain = plain.map(|line| line.split(" # ").next().unwrap_or(line).trim().to_owned());
    let shell = ['\'', '"', '$', '\\', '…', '['];
    plain.filter(|line| !line.contains(shell)).collect()
}

#[test]
fn the_command_lines_of_all_pages_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages = std::fs::read_dir(root.join("docs")).unwrap();
    let pages = pages.map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let (mut tested, mut wrong) = (0, Vec::new());
    for page in pages.chain(["README.md", "CONTRIBUTING.md"].map(|page| root.join(page))) {
        for command in test_commands(&page) {
            let words = command
                .split_whitespace()
                .skip(1)
                .map(|word| match word {
                    "SIZE" | "RATE" => "64K",
                    "N" => "2",
                    _ => word,
                })
                .map(std::ffi::OsString::from);
            let mut words: Vec<_> = words.collect();
            // The file that the package installs.
            for word in words
                .iter_mut()
                .filter(|word| *word == "/etc/iperf-rs.conf")
            {
                *word = root.join("packaging/systemd/iperf-rs.conf").into();
            }
            let first = words
                .first()
                .and_then(|word| word.to_str())
                .unwrap_or_default();
            // Subcommands have tests of their own, and files with keys are not there.
            if !first.starts_with('-') || command.contains("--rsa-") {
                continue;
            }
            tested += 1;
            if let Err(error) = iperf_cli::parse(words) {
                wrong.push(format!("{}: {command}: {error}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tested > 100, "{tested} commands");
}
