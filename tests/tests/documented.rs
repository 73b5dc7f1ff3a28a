//! The commands of docs/bench.md do what the page says, and docs/pictures makes the pictures of the pages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use iperf_harness::{Finished, Peer, Port, Running, paths};

const LIMIT: Duration = Duration::from_secs(300);

fn docs() -> PathBuf {
    paths::workspace().join("docs")
}

/// A directory with the programs that the page names, and a PATH that begins with it.
fn scene() -> (tempfile::TempDir, OsString) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["bin", "old", "new"] {
        fs::create_dir(at(name)).unwrap();
    }
    for (name, peer) in [
        ("bin/iperf", Peer::Ours),
        ("old/iperf", Peer::Ours),
        ("new/iperf", Peer::Ours),
        ("bin/iperf3", Peer::New),
    ] {
        symlink(peer.path(), at(name)).unwrap();
    }
    let mut path = at("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    (directory, path)
}

/// The commands of a page's code blocks that run a bench or sweep here, with the exit codes that they may have. A verdict
/// depends on the machine, unless the page names the exit code.
fn commands(page: &str) -> Vec<(String, Vec<i32>)> {
    let text = fs::read_to_string(docs().join(page)).unwrap();
    let text = text.replace("\\\n", " ");
    let mut inside = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line.starts_with("```sh") && !inside;
        }
        let runs = line.starts_with("iperf bench ") || line.starts_with("iperf sweep ");
        if inside && runs {
            let codes = match line.split_once("# exit ") {
                Some((_, code)) => vec![code.trim().parse().unwrap()],
                None if line.starts_with("iperf bench ") => vec![0, 1],
                None => vec![0],
            };
            commands.push((line.to_owned(), codes));
        }
    }
    commands
}

fn run(mut command: Command) -> Finished {
    command.env("LC_ALL", "C").env_remove("GITHUB_STEP_SUMMARY");
    let end = Running::start(command).finish(LIMIT);
    assert!(!end.timed_out, "{end}");
    end
}

#[test]
fn the_commands_of_the_page_do_what_it_says() {
    let (scene, path) = scene();
    let port = Port::reserve();
    let commands = commands("bench.md");
    assert!(commands.len() >= 8, "{commands:?}");
    for (command, codes) in commands {
        // Others may use the port of the page.
        let here = command.replace("7000", &port.number().to_string());
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &here])
            .env("PATH", &path)
            .current_dir(scene.path());
        let end = run(shell);
        let code = end.code().unwrap_or(-1);
        assert!(codes.contains(&code), "{command}: {codes:?}\n{end}");
    }
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
