//! Which errors the kernel gives for which system calls.

/// Calls and the errors that Linux really gives for them. Left out are calls that only fail for programming mistakes; `close`,
/// which closes even when it fails; `EAGAIN` for sockets whose readiness is awaited, which the kernel gives only when there is
/// nothing to read; `futex`, whose wake-ups never fail; and `mmap` and its like: the C library and Rust end the process when
/// there is no memory, with a message.
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

/// Whether a call on a descriptor of this kind, as `strace -yy` names it, ever gives the error.
pub(crate) fn is_real(call: &str, descriptor: &str, error: &str) -> bool {
    let is = |kind: &str| descriptor.starts_with(kind);
    let moves = ["read", "write", "writev", "recvmsg", "sendto", "sendmsg"].contains(&call);
    if !moves {
        return true;
    }
    if is("anon_inode:") {
        false
    } else if is("NETLINK:") {
        // The C library ends the process for others: its descriptor would not be a socket.
        ["ENOBUFS", "ENOMEM", "EINTR"].contains(&error)
    } else if is("pipe:") {
        ["EPIPE", "EINTR"].contains(&error)
    } else if is("/") {
        !["EPIPE", "ECONNRESET"].contains(&error)
    } else if is("UDP") {
        !["EPIPE", "EIO", "ENOSPC", "ECONNRESET"].contains(&error)
    } else {
        !["EIO", "ENOSPC"].contains(&error)
    }
}
