//! Which errors the kernel gives for which system calls, and which calls a program makes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Calls and the errors that Linux really gives for them. Left out are calls that only fail for programming mistakes; `close`,
/// which closes even when it fails; `EAGAIN` for sockets whose readiness is awaited, which the kernel gives only when there is
/// nothing to read; and `mmap` and its like: the C library and Rust end the process when there is no memory, with a message.
pub(crate) const ERRORS: &[(&str, &[&str])] = &[
    ("accept4", &["EMFILE", "ECONNABORTED", "ENOBUFS"]),
    ("bind", &["EADDRINUSE", "EADDRNOTAVAIL", "EACCES"]),
    ("clock_nanosleep", &["EINTR"]),
    ("clone3", &["EAGAIN", "ENOMEM"]),
    ("connect", &["ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"]),
    ("dup", &["EMFILE"]),
    ("epoll_create1", &["EMFILE", "ENOMEM"]),
    ("epoll_ctl", &["ENOMEM", "ENOSPC"]),
    ("epoll_wait", &["EINTR"]),
    ("eventfd2", &["EMFILE", "ENOMEM"]),
    ("fcntl", &["EMFILE"]),
    ("fstat", &["EIO"]),
    ("futex", &["EINTR"]),
    ("getdents64", &["ENOENT", "EIO"]),
    ("getpeername", &["ENOTCONN", "ENOBUFS"]),
    ("getrandom", &["ENOSYS", "EINTR"]),
    ("getsockname", &["ENOBUFS"]),
    ("getsockopt", &["ENOPROTOOPT", "ENOBUFS"]),
    ("ioctl", &["ENOTTY", "EPERM", "ENODEV"]),
    ("listen", &["EADDRINUSE"]),
    ("lseek", &["ESPIPE"]),
    ("madvise", &["ENOMEM", "EINVAL"]),
    ("memfd_create", &["EMFILE", "ENOSYS", "ENOMEM"]),
    ("newfstatat", &["ENOENT", "EACCES"]),
    ("openat", &["ENOENT", "EMFILE", "EACCES"]),
    ("pipe2", &["EMFILE", "ENFILE"]),
    ("poll", &["EINTR", "ENOMEM"]),
    ("ppoll", &["EINTR", "ENOMEM"]),
    ("prlimit64", &["EPERM"]),
    ("read", &["EIO", "EINTR", "ECONNRESET"]),
    ("readlink", &["ENOENT", "EACCES"]),
    ("recvfrom", &["ECONNRESET", "ENOMEM", "ETIMEDOUT"]),
    ("recvmmsg", &["ECONNREFUSED", "ENOMEM", "EINTR"]),
    ("recvmsg", &["ECONNREFUSED", "ENOMEM", "EINTR"]),
    ("sched_getaffinity", &["EPERM"]),
    ("sched_setaffinity", &["EPERM", "EINVAL"]),
    ("sendfile", &["EIO", "EINTR", "ENOMEM"]),
    ("sendmmsg", &["ENOBUFS", "EPERM", "EINTR", "ENETUNREACH"]),
    ("sendmsg", &["ENOBUFS", "EPERM", "EINTR", "EPIPE"]),
    ("sendto", &["ENOBUFS", "EPERM", "ECONNRESET", "EPIPE"]),
    ("setsockopt", &["ENOPROTOOPT", "EPERM", "ENOBUFS"]),
    ("shutdown", &["ENOTCONN"]),
    ("socket", &["EMFILE", "ENOBUFS", "EAFNOSUPPORT"]),
    ("socketpair", &["EMFILE"]),
    ("splice", &["EINTR", "ENOMEM", "EINVAL"]),
    ("statx", &["ENOENT", "ENOSYS"]),
    ("sysinfo", &["EPERM"]),
    ("tgkill", &["EAGAIN", "ESRCH"]),
    ("uname", &["EPERM"]),
    ("vmsplice", &["EINTR", "ENOMEM"]),
    ("write", &["EPIPE", "ENOSPC", "EINTR", "ECONNRESET"]),
    ("writev", &["EPIPE", "ECONNRESET", "EINTR"]),
];

/// How often a thread of a traced program makes each call of the table, at most: strace counts in each thread.
pub(crate) fn made(trace: &Path) -> BTreeMap<&'static str, usize> {
    let text = fs::read_to_string(trace).unwrap_or_default();
    let mut counts: BTreeMap<(&str, &'static str), usize> = BTreeMap::new();
    for line in text.lines() {
        // PID call(arguments…; a call that is interrupted by others' goes on in another line.
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let name = rest.trim_start().split('(').next().unwrap_or_default();
        if let Some((call, _)) = ERRORS.iter().find(|(call, _)| *call == name) {
            *counts.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in counts {
        let seen = most.entry(call).or_insert(0);
        *seen = count.max(*seen);
    }
    most
}
