//! The places in the program that make system calls, from a trace with stacks (`strace -f -k -yy`).
//!
//! Calls with the same stack are one site. Those of the dynamic loader, and of Rust's runtime before `main`, are left out.

use std::collections::HashMap;

use crate::calls::{ERRORS, is_real};

/// A place that makes a call, and how strace can make it fail.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) call: &'static str,
    /// The file that the call is about, if strace can look for it: only its calls count then.
    pub(crate) path: Option<String>,
    /// Its first, middle and last call that can fail.
    pub(crate) failures: Vec<Failure>,
}

/// A call that can fail.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    /// How many calls of the kind (and path) its thread has then made.
    pub(crate) number: usize,
    pub(crate) errors: Vec<&'static str>,
}

/// A call in the trace.
struct Made<'a> {
    thread: &'a str,
    call: &'static str,
    errors: &'static [&'static str],
    path: Option<&'a str>,
    /// What its first argument is, as strace names it.
    descriptor: &'a str,
    /// How many calls of the kind the thread has made, with this one.
    overall: usize,
    /// How many of them are about the same path, or about none.
    of_path: usize,
    /// The functions of the program that led to it, without addresses of the process.
    stack: Vec<&'a str>,
    /// Whether the program made it, not the dynamic loader or the runtime before `main`.
    ours: bool,
}

/// The sites of a trace, in the order of their first calls.
pub(crate) fn of(trace: &str, program: &str) -> Vec<Site> {
    let calls = made(trace, program);
    let main = calls.first().map_or("", |call| call.thread);
    // What the main thread does before `main` has the numbers that other threads begin with.
    let before_main = |name: &str| {
        let is_one = |call: &&Made<'_>| call.thread == main && call.call == name;
        let early = calls.iter().take_while(|call| !call.ours);
        early.filter(is_one).count()
    };
    let mut order = Vec::new();
    let mut found: HashMap<_, Vec<&Made<'_>>> = HashMap::new();
    for call in calls.iter().filter(|call| call.ours) {
        let reachable =
            call.thread == main || call.path.is_some() || call.overall > before_main(call.call);
        if !reachable {
            continue;
        }
        let key = (call.call, &call.stack);
        let same = found.entry(key).or_default();
        if same.is_empty() {
            order.push(key);
        }
        same.push(call);
    }
    let with_number = by_number(&calls);
    let failure = |call: &Made<'_>| {
        let together = &with_number[&(call.call, call.overall)];
        let errors: Vec<_> = (call.errors.iter().copied())
            .filter(|error| match call.path {
                Some(_) => is_real(call.call, call.descriptor, error),
                None => together.iter().all(|one| is_real(call.call, one, error)),
            })
            .collect();
        let number = call.number();
        (!errors.is_empty()).then_some(Failure { number, errors })
    };
    let mut sites = Vec::new();
    for key in order {
        let calls = &found[&key];
        let path = calls[0].path;
        let same_path = calls.iter().filter(|call| call.path == path);
        let all: Vec<_> = same_path.filter_map(|call| failure(call)).collect();
        let Some(last) = all.len().checked_sub(1) else {
            continue;
        };
        let mut failures = [0, all.len() / 2, last]
            .map(|index| all[index].clone())
            .to_vec();
        failures.dedup();
        sites.push(Site {
            call: key.0,
            path: path.map(str::to_owned),
            failures,
        });
    }
    sites
}

/// What the calls are about that fail together: those that have the same number in different threads.
fn by_number<'a>(calls: &[Made<'a>]) -> HashMap<(&'static str, usize), Vec<&'a str>> {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for call in calls {
        all.entry((call.call, call.overall))
            .or_default()
            .push(call.descriptor);
    }
    all
}

/// The calls of the table of errors, in the order in which they began.
fn made<'a>(trace: &'a str, program: &str) -> Vec<Made<'a>> {
    let mut calls: Vec<Made<'_>> = Vec::new();
    let mut counts: HashMap<_, usize> = HashMap::new();
    let mut unfinished: HashMap<&str, usize> = HashMap::new();
    // The call whose stack follows.
    let mut current = None;
    for line in trace.lines() {
        if let Some(frame) = line.strip_prefix(" > ") {
            if let Some(index) = current {
                let call: &mut Made<'_> = &mut calls[index];
                if let Some(function) = frame.strip_prefix(program) {
                    let function = function.split(" [").next().unwrap_or_default();
                    call.ours = call.stack.is_empty() || call.ours;
                    call.ours &= !function.contains("std::rt::init");
                    call.stack.push(function);
                }
            }
            continue;
        }
        current = None;
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if rest.starts_with("<... ") {
            current = unfinished.remove(thread);
            continue;
        }
        let Some((name, arguments)) = rest.split_once('(') else {
            continue;
        };
        let Some((call, errors)) = ERRORS.iter().find(|(call, _)| *call == name) else {
            continue;
        };
        let path = path(arguments);
        let mut count = |path: Option<&'a str>, all: bool| {
            let number = counts.entry((thread, *call, path, all)).or_default();
            *number += 1;
            *number
        };
        let (overall, of_path) = (count(None, true), count(path, false));
        current = Some(calls.len());
        if rest.ends_with("<unfinished ...>") {
            unfinished.insert(thread, calls.len());
            current = None;
        }
        calls.push(Made {
            thread,
            call,
            errors,
            path,
            descriptor: descriptor(arguments),
            overall,
            of_path,
            stack: Vec::new(),
            ours: false,
        });
    }
    calls
}

impl Made<'_> {
    /// Its number for strace, which counts all calls of the kind unless it looks for a path.
    fn number(&self) -> usize {
        match self.path {
            Some(_) => self.of_path,
            None => self.overall,
        }
    }
}

/// What a call's first argument is, if it is a descriptor.
pub(crate) fn descriptor(arguments: &str) -> &str {
    let after = arguments.trim_start_matches(|c: char| c.is_ascii_digit());
    let named = after.strip_prefix('<').unwrap_or_default();
    // "TCP:[127.0.0.1:1->127.0.0.1:2]" has one in its middle.
    let end = named.find(">,").or_else(|| named.find(">)"));
    &named[..end.unwrap_or(named.len())]
}

/// A file that strace's `-P` finds: one whose name is the same in each process.
fn path(arguments: &str) -> Option<&str> {
    let named = if arguments.starts_with("AT_FDCWD") {
        arguments.split('"').nth(1)
    } else {
        let after = arguments.trim_start_matches(|c: char| c.is_ascii_digit());
        after
            .strip_prefix('<')
            .and_then(|rest| rest.split('>').next())
    }?;
    let in_a_process = named.strip_prefix("/proc/").is_some_and(|rest| {
        rest.starts_with("self") || rest.starts_with(|c: char| c.is_ascii_digit())
    });
    let is_fixed = ["/proc/", "/sys/", "/etc/"]
        .iter()
        .any(|folder| named.starts_with(folder));
    (is_fixed && !in_a_process).then_some(named)
}

#[test]
fn sites_are_told_apart_by_their_stacks() {
    let trace = "\
10 read(3</lib/libc.so>, \"x\", 8) = 8
 > /lib/ld.so(open+0x1) [0x1]
10 poll([{fd=0}], 1, 0) = 0
 > /bin/iperf(std::rt::init+0x5) [0x5]
 > /bin/iperf(main+0x9) [0x9]
10 read(3<socket:[7]>, \"x\", 8) = 8
 > /lib/libc.so(read+0x1) [0x1]
 > /bin/iperf(one+0x1) [0x1]
 > /bin/iperf(main+0x2) [0x2]
11 read(4<pipe:[8]>, <unfinished ...>
10 read(3<socket:[7]>, \"x\", 8) = 8
 > /bin/iperf(one+0x1) [0x1]
 > /bin/iperf(main+0x2) [0x2]
11 <... read resumed> \"x\", 8) = 8
 > /bin/iperf(other+0x1) [0x1]
11 read(4<pipe:[8]>, \"x\", 8) = 8
 > /bin/iperf(other+0x1) [0x1]
11 openat(AT_FDCWD</tmp>, \"/proc/cpuinfo\", O_RDONLY) = 5</proc/cpuinfo>
 > /bin/iperf(third+0x1) [0x1]
";
    let sites: Vec<_> = of(trace, "/bin/iperf")
        .into_iter()
        .map(|site| {
            let numbers = site.failures.iter().map(|failure| failure.number);
            (site.call, site.path, numbers.collect::<Vec<_>>())
        })
        .collect();
    let cpuinfo = Some("/proc/cpuinfo".to_owned());
    // The first call of the other thread has the number of the loader's.
    let expected = [
        ("read", None, vec![2, 3]),
        ("read", None, vec![2]),
        ("openat", cpuinfo, vec![1]),
    ];
    assert_eq!(sites, expected);
}

#[test]
fn a_call_fails_only_as_those_with_its_number_can() {
    let trace = "\
10 write(3<anon_inode:[eventfd]>, \"x\", 8) = 8
 > /bin/iperf(wake+0x1) [0x1]
11 write(4<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"x\", 8) = 8
 > /bin/iperf(send+0x1) [0x1]
11 write(4<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"x\", 8) = 8
 > /bin/iperf(send+0x1) [0x1]
";
    let sites = of(trace, "/bin/iperf");
    let failure = Failure {
        number: 2,
        errors: vec!["EPIPE", "EINTR", "ECONNRESET"],
    };
    assert_eq!(sites.len(), 1, "nothing wakes with an error: {sites:?}");
    assert_eq!(sites[0].failures, [failure]);
}
