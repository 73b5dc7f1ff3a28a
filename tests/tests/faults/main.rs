//! Each system call of a short test fails once, with errors that kernels really give. What may come of it is a right result or
//! a clear error, within a deadline: no panic, no hang, no wrong result, and a server that continues.
//!
//! strace makes the calls fail, the N-th one of each thread. The sweep takes a quarter of an hour and is run by hand:
//!
//! ```text
//! cargo nextest run -p iperf-tests --config-file tests/nextest.toml --test faults --run-ignored only
//! IPERF_CASE='client/-n 512K -R/' …       a part of it, by the text of its cases
//! ```

mod calls;
mod case;
mod sites;

use std::collections::{HashMap, HashSet};
use std::env;
use std::fmt;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use calls::ERRORS;
use case::{Case, End, check, client_args, is_clean, is_right, own_server, server_args, traced};
use iperf_harness::pair::words;
use iperf_harness::port::Port;
use iperf_harness::process::Running;
use iperf_harness::{Peer, Server, parallel};

/// Longer than every time limit of a short test with `PATIENCE`.
const LIMIT: Duration = Duration::from_secs(75);
/// What takes longer is worth a look: a wait for a peer that has said why it ends.
const SLOW: Duration = Duration::from_secs(8);
/// Keeps a server's waits short that are for networks.
const PATIENCE: &str = "--rcv-timeout 3000 --snd-timeout 3000";
/// What each test moves.
const BYTES: i64 = 512 * 1024;

const MODES: [&str; 9] = [
    "-n 512K",
    "-n 512K -R",
    "-n 512K --bidir -P 2",
    "-n 512K --zerocopy=sendfile",
    "-n 512K -R -Z",
    "-n 512K -u -b 0",
    "-n 512K -u -b 100M -R",
    "-n 50 --rr=64,64",
    "-n 512K --zerocopy=msg",
];

/// The cases of an end in a mode.
struct Part(End, &'static str);

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", self.0, self.1)
    }
}

impl Part {
    /// Whether the text may be in the name of one of its cases.
    fn may_hold(&self, text: &str) -> bool {
        let name = self.to_string();
        name.contains(text) || text.starts_with(&name) || !text.contains('/')
    }
}

/// A trace of an end in a mode, with stacks. Writing them takes so long that a peer on a busy machine may not wait.
fn trace(end: End, mode: &str) -> String {
    for _ in 0..6 {
        if let Ok(trace) = try_trace(end, mode) {
            return trace;
        }
    }
    try_trace(end, mode).unwrap_or_else(|problem| panic!("{problem}"))
}

fn try_trace(end: End, mode: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace");
    let name = file.display().to_string();
    let table: Vec<_> = ERRORS.iter().map(|(call, _)| *call).collect();
    let calls = format!("trace={}", table.join(","));
    let options = ["-e", &calls, "-k", "-yy", "-s", "200", "-o", &name];
    let client = match end {
        End::Client => {
            let server = Server::start(Peer::Ours, &["-1"]);
            let client =
                Running::start(traced(&options, &client_args(server.port(), mode))).finish(LIMIT);
            server.finish(LIMIT);
            client
        }
        End::Server => {
            let port = Port::reserve();
            let server = Running::start(traced(&options, &server_args(port.number())));
            let args = format!("{} --wait 20", client_args(port.number(), mode));
            let mut command = Peer::Ours.command();
            command.args(words(&args));
            let client = Running::start(command).finish(LIMIT);
            server.finish(LIMIT);
            client
        }
    };
    if !client.succeeded() {
        return Err(client.to_string());
    }
    fs::read_to_string(&file).map_err(|error| error.to_string())
}

/// Calls that only some modes make.
const OF_FEW_MODES: &[&str] = &[
    "madvise", "recvmmsg", "recvmsg", "sendfile", "sendmmsg", "sendmsg", "splice", "vmsplice",
];

/// Every place of an end that makes a call in a mode fails the first, the middle and the last time: in the first mode with
/// every error of the call. The other modes share most of their places with it, and there each fails with one of them.
fn cases(end: End, mode: &'static str) -> Vec<Case> {
    let turn = MODES.iter().position(|one| *one == mode).unwrap_or(0);
    let program = fs::canonicalize(Peer::Ours.path()).expect("the program");
    let sites = sites::of(&trace(end, mode), &program.display().to_string());
    assert!(
        sites.len() > 50,
        "{} places make calls: has strace stacks?",
        sites.len()
    );
    let mut cases: Vec<Case> = Vec::new();
    for site in sites {
        let all = turn == 0 || OF_FEW_MODES.contains(&site.call);
        for (index, failure) in site.failures.iter().enumerate() {
            let number = failure.number;
            let some = if all { failure.errors.len() } else { 1 };
            let errors = failure.errors.iter().cycle().skip(turn + index).take(some);
            cases.extend(errors.map(|error| Case {
                end,
                mode,
                call: site.call,
                path: site.path.clone(),
                number,
                error,
            }));
        }
    }
    // The same number of another thread's calls fails together with it.
    let mut seen = HashSet::new();
    cases.retain(|case| seen.insert(case.to_string()));
    cases
}

#[test]
#[ignore = "takes a quarter of an hour: the proof that is run by hand"]
fn each_call_fails_once() {
    let only = env::var("IPERF_CASE").unwrap_or_default();
    let ends = [End::Client, End::Server];
    let modes: Vec<_> = ends
        .into_iter()
        .flat_map(|end| MODES.map(|mode| Part(end, mode)))
        .filter(|part| part.may_hold(&only))
        .collect();
    let all = Mutex::new(Vec::new());
    parallel::every(&modes, 3, |Part(end, mode)| {
        let cases = cases(*end, mode);
        all.lock().expect("no job panics").extend(cases);
        Ok(())
    });
    let all = all.into_inner().expect("no job panics");
    println!("{} cases", all.len());
    let outcomes = Mutex::new(HashMap::new());
    // One for all clients that fail.
    let server = own_server();
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        parallel::each(&all, 4, |case| {
            let began = Instant::now();
            let outcome = check(case, &server);
            let took = began.elapsed();
            // At once: the sweep takes long.
            match &outcome {
                Err(problem) => println!("──── {case} ({took:.1?})\n{problem}"),
                Ok(outcome) if took > SLOW => println!("{case}: {outcome:?} after {took:.1?}"),
                Ok(_) => {}
            }
            let name = outcome
                .as_ref()
                .map_or("fault".to_owned(), |outcome| format!("{outcome:?}"));
            *outcomes
                .lock()
                .expect("no job panics")
                .entry(name)
                .or_insert(0) += 1;
            outcome.map(drop)
        });
    }));
    is_clean(&server.stop()).expect("the server is as it began");
    println!("{:?}", outcomes.lock().expect("no job panics"));
    if let Err(problem) = result {
        panic::resume_unwind(problem);
    }
}

/// Without a failing call every mode succeeds.
#[test]
fn the_tests_themselves_succeed() {
    let server = Server::start(Peer::Ours, &["--tests", "0"]);
    for mode in MODES {
        let args = client_args(server.port(), mode);
        let client = Running::start(traced(&["-o", "/dev/null"], &args)).finish(LIMIT);
        assert_eq!(client.code(), Some(0), "{client}");
        is_right(&client, mode).unwrap_or_else(|problem| panic!("{problem}\n{client}"));
    }
}

/// A few of the sweep, among them what once went wrong.
#[test]
fn some_calls_fail_once() {
    let case = |end, mode, call, number, error| Case {
        end,
        mode: MODES[mode],
        call,
        path: None,
        number,
        error,
    };
    let (client, server) = (End::Client, End::Server);
    let some = [
        case(client, 0, "socket", 1, "EMFILE"),
        case(client, 0, "setsockopt", 1, "ENOPROTOOPT"),
        case(client, 0, "clone3", 2, "EAGAIN"),
        case(client, 0, "epoll_create1", 1, "EMFILE"),
        // One of the sockets that are tried before the runtime starts, and its own.
        case(client, 0, "socketpair", 1, "EMFILE"),
        case(client, 0, "socketpair", 5, "EMFILE"),
        case(client, 1, "recvfrom", 1, "ECONNRESET"),
        case(client, 2, "getsockopt", 2, "ENOBUFS"),
        case(client, 3, "sendfile", 1, "EINTR"),
        case(client, 5, "sendmmsg", 1, "ENOBUFS"),
        case(client, 7, "getrandom", 1, "ENOSYS"),
        case(server, 0, "accept4", 1, "EMFILE"),
        case(server, 0, "bind", 1, "EADDRINUSE"),
        case(server, 1, "clone3", 3, "EAGAIN"),
        case(server, 2, "eventfd2", 2, "EMFILE"),
        case(server, 4, "vmsplice", 1, "ENOMEM"),
        case(server, 5, "recvmmsg", 1, "ENOMEM"),
        case(server, 6, "bind", 2, "EADDRINUSE"),
    ];
    let server = own_server();
    parallel::each(&some, 4, |case| check(case, &server).map(drop));
    is_clean(&server.stop()).expect("the server is as it began");
}
