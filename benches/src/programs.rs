//! The programs that are compared, and how each runs a case.
//!
//! Cases have iperf3's options. Other tools run those that they have the same test for.

use std::fmt::{self, Write as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use iperf_harness::peer::Peer;

use crate::cases::{Case, Ground};
use crate::exchange::{Exchange, Tool};

/// One of the programs.
#[derive(Clone, Debug)]
pub struct Program {
    /// How it is called in the table.
    pub name: String,
    path: PathBuf,
    /// What precedes the program on the command line: the loader of a fetched one.
    start: Vec<PathBuf>,
    kind: Kind,
}

/// A kind of program: which options it takes, and how it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Iperf3,
    Iperf2,
    Nuttcp,
    Sockperf,
    Qperf,
    Netperf,
    /// A program for each test, beside each other.
    Neper,
    Loop,
}

/// Tools of other kinds: how they are called here, their program, and the Debian package that has it.
const TOOLS: [(&str, Kind, &str, &str); 4] = [
    ("iperf2", Kind::Iperf2, "iperf", "iperf"),
    ("nuttcp", Kind::Nuttcp, "nuttcp", "nuttcp"),
    ("sockperf", Kind::Sockperf, "sockperf", "sockperf"),
    ("qperf", Kind::Qperf, "qperf", "qperf"),
];

/// Programs that Debian does not have, by their files' names.
const BUILT: [(&str, Kind); 2] = [("netperf", Kind::Netperf), ("tcp_rr", Kind::Neper)];

/// A case's client and server, as a shell takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commands {
    /// The command that is measured.
    pub client: String,
    /// The server.
    pub server: String,
}

impl Program {
    /// `ours`, `iperf3` (the newest), `iperf3-old`, `iperf2`, `nuttcp`, `sockperf`, `qperf`, or a path: of `netperf` beside
    /// its `netserver`, of neper's `tcp_rr` beside its `udp_rr`, or of a program with iperf3's command line.
    pub fn named(name: &str) -> Result<Self, String> {
        let known = match name {
            "ours" => Some(Peer::Ours),
            "iperf3" => Some(Peer::New),
            "iperf3-old" => Some(Peer::Old),
            _ => None,
        };
        let tool = TOOLS.iter().find(|(tool, ..)| *tool == name);
        let (path, kind) = match (known, tool) {
            (Some(peer), _) => (peer.path().to_owned(), Kind::Iperf3),
            (None, Some((_, kind, program, package))) => {
                let found = installed(program);
                let missing = || format!("{name} is not installed: apt-get install {package}");
                (found.ok_or_else(missing)?, *kind)
            }
            (None, None) => {
                let path = PathBuf::from(name);
                let file = path.file_name().and_then(|file| file.to_str());
                let built = BUILT.iter().find(|(built, _)| file == Some(built));
                (path, built.map_or(Kind::Iperf3, |(_, kind)| *kind))
            }
        };
        if !path.is_file() {
            let tools: Vec<&str> = TOOLS.iter().map(|(tool, ..)| *tool).collect();
            return Err(format!(
                "{name} is no program, and none of iperf3, iperf3-old, {}",
                tools.join(", ")
            ));
        }
        let (start, path) = match without_shell(&path) {
            Some(found) => found,
            None if matches!(known, Some(Peer::New | Peer::Old)) => {
                return Err(format!("{name} lies there without its loader"));
            }
            None => (Vec::new(), path),
        };
        Ok(Self {
            name: name.to_owned(),
            path,
            start,
            kind,
        })
    }

    /// A bare loop of system calls, which is at `path`: what requests and responses cost at least.
    pub fn bare_loop(path: &str) -> Self {
        Self {
            name: "loop".to_owned(),
            path: path.into(),
            start: Vec::new(),
            kind: Kind::Loop,
        }
    }

    /// The same program at another place.
    pub fn at(&self, path: &str) -> Self {
        Self {
            path: path.into(),
            start: Vec::new(),
            ..self.clone()
        }
    }

    /// The program's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its version option prints first.
    pub fn version(&self) -> String {
        if self.kind == Kind::Loop {
            return "a bare loop of system calls".to_owned();
        }
        let option = match self.kind {
            Kind::Nuttcp | Kind::Netperf => "-V",
            // It has no such option; its results include the version.
            Kind::Neper => "--help",
            _ => "--version",
        };
        let mut words = self.start.iter().chain([&self.path]);
        let mut command = Command::new(words.next().unwrap_or(&self.path));
        let output = command.args(words).arg(option).env("LC_ALL", "C").output();
        let text = output.map(|output| [output.stdout, output.stderr].concat());
        let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
        let line = text.lines().find(|line| !line.trim().is_empty());
        line.unwrap_or("a program without version")
            .trim()
            .to_owned()
    }

    /// Whether its help names vsock.
    fn knows_vsock(&self) -> bool {
        if self.kind == Kind::Loop {
            return true;
        }
        let output = Command::new(&self.path).arg("--help").output();
        let help = output.map(|output| [output.stdout, output.stderr].concat());
        String::from_utf8_lossy(&help.unwrap_or_default()).contains("--vsock")
    }

    /// Whether it has the test of a case.
    pub fn runs(&self, case: &Case) -> bool {
        let here = self.commands(case, 1, (1, 2)).is_some();
        here && (case.ground != Ground::Vsock || self.start.is_empty() && self.knows_vsock())
    }

    /// The tool that `iperf bench` is to take it for, in a request/response test.
    pub(crate) fn exchange_tool(&self) -> Option<Tool> {
        match self.kind {
            Kind::Sockperf => Some(Tool::Sockperf),
            Kind::Qperf => Some(Tool::Qperf),
            Kind::Netperf => Some(Tool::Netperf),
            Kind::Neper => Some(Tool::Neper),
            Kind::Loop => Some(Tool::Loop),
            Kind::Iperf3 | Kind::Iperf2 | Kind::Nuttcp => None,
        }
    }

    /// A program as a shell takes it: without a shell that stays, which would be counted.
    fn word(&self, path: &Path) -> String {
        let mut words = "exec".to_owned();
        for word in self.start.iter().map(PathBuf::as_path).chain([path]) {
            let _ = write!(words, " '{}'", word.display());
        }
        words
    }

    /// The program as a shell takes it, wherever it is and whatever its file is called there.
    pub(crate) fn itself(&self) -> String {
        self.word(&self.path)
    }

    /// A program beside this one.
    pub(crate) fn beside(&self, name: &str) -> String {
        self.word(&self.path.with_file_name(name))
    }

    /// How it runs a case on the first of two free ports, or `None` if it has no such test.
    pub fn commands(&self, case: &Case, seconds: u32, ports: (u16, u16)) -> Option<Commands> {
        let program = self.itself();
        let (port, second) = ports;
        let words: Vec<&str> = case.args.split_whitespace().collect();
        if let Some(exchange) = Exchange::of(&words).filter(|_| self.kind != Kind::Iperf3) {
            return exchange.commands(self, case.ground, ports, seconds);
        }
        if self.kind == Kind::Iperf3 {
            let words = case.client_args(seconds).join(" ");
            let (client, server) = (
                case.ground.client().join(" "),
                case.ground.server().join(" "),
            );
            return Some(Commands {
                client: format!("{program} {client} -p {port} {words}"),
                server: format!("{program} {server} -p {port}"),
            });
        }
        if case.ground == Ground::Vsock || case.is_short() {
            return None;
        }
        let test = Test::of(case)?;
        let (client, server) = match self.kind {
            Kind::Iperf3 | Kind::Netperf | Kind::Neper | Kind::Loop => return None,
            Kind::Iperf2 => test.iperf2(port, seconds),
            Kind::Nuttcp => test.nuttcp(port, second, seconds),
            Kind::Sockperf => test.sockperf(port, seconds)?,
            Kind::Qperf => test.qperf(port, seconds)?,
        };
        Some(Commands {
            client: format!("{program} {client}"),
            server: format!("{program} {server}"),
        })
    }
}

/// A rate that no machine reaches: these tools send datagrams at 1 Mbit/s otherwise, and have no word for no limit.
const UNLIMITED_2: &str = " -b 1000G";
const UNLIMITED_NUTTCP: &str = " -R 1000g";

/// What other tools have of iperf3's options.
#[derive(Debug, Default)]
struct Test<'a> {
    udp: bool,
    reverse: bool,
    parallel: Option<&'a str>,
    length: Option<&'a str>,
    rate: Option<&'a str>,
}

impl Test<'_> {
    /// `None` if a case has other options.
    fn of(case: &Case) -> Option<Test<'static>> {
        let mut test = Test::default();
        let mut words = case.args.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "-u" => test.udp = true,
                "-R" => test.reverse = true,
                "-P" => test.parallel = words.next(),
                "-l" => test.length = words.next(),
                "-b" => test.rate = words.next().filter(|rate| *rate != "0"),
                _ => return None,
            }
        }
        Some(test)
    }

    /// Options in a tool's own words, each with its value.
    fn options(&self, names: [&str; 3]) -> String {
        let values = [self.parallel, self.length, self.rate];
        let given = names.iter().zip(values);
        given
            .filter_map(|(name, value)| Some(format!(" {name} {}", value?)))
            .collect()
    }

    fn iperf2(&self, port: u16, seconds: u32) -> (String, String) {
        let mut options = self.options(["-P", "-l", "-b"]);
        if self.udp {
            options.push_str(" -u");
            if self.rate.is_none() {
                options.push_str(UNLIMITED_2);
            }
        }
        if self.reverse {
            options.push_str(" -R");
        }
        let kind = if self.udp { " -u" } else { "" };
        (
            format!("-c 127.0.0.1 -p {port} -t {seconds} -e{options}"),
            format!("-s -p {port}{kind}"),
        )
    }

    fn nuttcp(&self, port: u16, second: u16, seconds: u32) -> (String, String) {
        // Its letters of sizes are small.
        let mut options = self.options(["-N", "-l", "-R"]).replace('K', "k");
        options = options.replace('M', "m").replace('G', "g");
        if self.udp {
            options.push_str(" -u");
            if self.rate.is_none() {
                options.push_str(UNLIMITED_NUTTCP);
            }
        }
        if self.reverse {
            options.push_str(" -r");
        }
        (
            format!("-P {port} -p {second} -T {seconds}{options} 127.0.0.1"),
            format!("-S --nofork -P {port}"),
        )
    }

    fn sockperf(&self, port: u16, seconds: u32) -> Option<(String, String)> {
        let length = self.length.filter(|length| length.parse::<u32>().is_ok())?;
        let has_test = self.udp && !self.reverse && self.parallel.is_none() && self.rate.is_none();
        has_test.then(|| {
            (
                format!("throughput -i 127.0.0.1 -p {port} -t {seconds} -m {length}"),
                format!("server -i 127.0.0.1 -p {port}"),
            )
        })
    }

    fn qperf(&self, port: u16, seconds: u32) -> Option<(String, String)> {
        let has_test = !self.reverse && self.parallel.is_none() && self.rate.is_none();
        let test = if self.udp { "udp_bw" } else { "tcp_bw" };
        let length = self.length.map(|length| format!(" -m {length}"));
        has_test.then(|| {
            let length = length.unwrap_or_default();
            (
                format!("-lp {port} -t {seconds}{length} 127.0.0.1 {test}"),
                format!("-lp {port}"),
            )
        })
    }
}

/// Where PATH has a program.
fn installed(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// How a fetched iperf3 is started by its own loader, whatever path leads to it: the CPU time of the shell script that does
/// it for other tests, 9 ms for each end, would count as the program's.
fn without_shell(script: &Path) -> Option<(Vec<PathBuf>, PathBuf)> {
    let mut start = [0; 2];
    fs::File::open(script).ok()?.read_exact(&mut start).ok()?;
    if start != *b"#!" {
        return None;
    }
    let dir = script.parent()?;
    let libraries = dir.join("lib");
    let mut files = fs::read_dir(&libraries).ok()?.filter_map(Result::ok);
    let loader = files.find(|file| {
        let name = file.file_name();
        name.to_string_lossy().starts_with("ld-linux")
    })?;
    let start = vec![loader.path(), "--library-path".into(), libraries];
    Some((start, dir.join("bin/iperf3")))
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(kind: Kind) -> Program {
        Program {
            name: "x".into(),
            path: "x".into(),
            start: Vec::new(),
            kind,
        }
    }

    fn case(name: &str) -> Case {
        Case::named(&[name.to_owned()]).unwrap()[0]
    }

    #[test]
    fn a_case_is_translated_for_each_tool() {
        for (kind, name, client, server) in [
            (
                Kind::Iperf3,
                "tcp-4K",
                "exec 'x' -c 127.0.0.1 -J -p 1 -l 4K -t 3",
                "exec 'x' -s -p 1",
            ),
            (
                Kind::Iperf2,
                "udp-1448",
                "exec 'x' -c 127.0.0.1 -p 1 -t 3 -e -l 1448 -u -b 1000G",
                "exec 'x' -s -p 1 -u",
            ),
            (
                Kind::Nuttcp,
                "tcp-128K",
                "exec 'x' -P 1 -p 2 -T 3 -l 128k 127.0.0.1",
                "exec 'x' -S --nofork -P 1",
            ),
            (
                Kind::Sockperf,
                "udp-64",
                "exec 'x' throughput -i 127.0.0.1 -p 1 -t 3 -m 64",
                "exec 'x' server -i 127.0.0.1 -p 1",
            ),
            (
                Kind::Qperf,
                "tcp",
                "exec 'x' -lp 1 -t 3 127.0.0.1 tcp_bw",
                "exec 'x' -lp 1",
            ),
        ] {
            let commands = program(kind).commands(&case(name), 3, (1, 2)).unwrap();
            assert_eq!((&*commands.client, &*commands.server), (client, server));
        }
    }

    #[test]
    fn exchanges_are_translated_for_each_tool() {
        for (kind, name, client, server) in [
            (
                Kind::Sockperf,
                "tcp-rr",
                "exec '/t/sockperf' ping-pong --tcp -i 127.0.0.1 -p 1 -t 3 -m 14 --full-rtt",
                "exec '/t/sockperf' server --tcp --uc-reuseaddr -i 127.0.0.1 -p 1",
            ),
            (
                Kind::Qperf,
                "udp-rr",
                "exec '/t/qperf' -lp 1 -t 3 -m 14 127.0.0.1 udp_lat",
                "exec '/t/qperf' -lp 1",
            ),
            (
                Kind::Loop,
                "vsock-rr",
                "exec '/t/x' client vsock 1 1 14 3",
                "exec '/t/x' server vsock 1 1 14",
            ),
            (
                Kind::Neper,
                "tcp-rr-4",
                "exec '/t/tcp_rr' -c -H 127.0.0.1 --nolog -C 1 -P 2 -F 4 -T 4 -l 3 -Q 14 -R 14 -p 50,99",
                "exec '/t/tcp_rr' --nolog -C 1 -P 2 -F 4 -T 4 -l 3 -Q 14 -R 14",
            ),
        ] {
            let program = Program {
                path: "/t/x".into(),
                ..program(kind)
            };
            let commands = program.commands(&case(name), 3, (1, 2)).unwrap();
            assert_eq!((&*commands.client, &*commands.server), (client, server));
        }
        let netperf = program(Kind::Netperf);
        assert!(netperf.commands(&case("udp-rr"), 3, (1, 2)).is_some());
        assert_eq!(netperf.commands(&case("tcp-rr-4"), 3, (1, 2)), None);
        assert_eq!(netperf.commands(&case("tcp"), 3, (1, 2)), None);
    }

    #[test]
    fn a_tool_without_a_test_does_not_run_the_case() {
        for (kind, name) in [
            (Kind::Iperf2, "zerocopy"),
            (Kind::Nuttcp, "tcp-bidir"),
            (Kind::Sockperf, "tcp"),
            (Kind::Qperf, "tcp-reverse"),
            (Kind::Sockperf, "vsock-rr"),
            (Kind::Loop, "udp-rr"),
            (Kind::Loop, "tcp"),
            (Kind::Iperf2, "vsock-64K"),
        ] {
            assert_eq!(
                program(kind).commands(&case(name), 3, (1, 2)),
                None,
                "{name}"
            );
        }
    }
}
