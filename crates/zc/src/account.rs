//! What a mover did, byte by byte, and why it did less than requested.
//!
//! The counters are plain numbers in the mover, which one thread uses: counting costs one addition per system call, and
//! the numbers are read when the worker has ended.

use std::io;

use nix::errno::Errno;

/// What a mover did. When it has ended, `uncopied + copied` is the number of bytes that it moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// System calls that moved payload.
    pub calls: u64,
    /// Bytes that moved without a copy between user memory and kernel: sent by reference, mapped, or dropped inside
    /// the kernel. For `MSG_ZEROCOPY` over vsock this is an upper bound if calls were split: the kernel does not report
    /// the length of the pieces.
    pub uncopied: u64,
    /// Bytes that were copied.
    pub copied: u64,
    /// Calls that mapped received pages.
    pub mappings: u64,
    /// Calls with `MSG_ZEROCOPY` that the kernel reported complete. A vsock may report one call as several.
    pub completions: u64,
    /// Those of them that the kernel copied after all (`SO_EE_CODE_ZEROCOPY_COPIED`).
    pub copied_completions: u64,
}

impl Account {
    /// Bytes moved, one way or the other.
    pub fn bytes(&self) -> u64 {
        self.uncopied + self.copied
    }

    /// One call that copied `bytes`.
    pub(crate) fn copy(&mut self, bytes: usize) {
        self.calls += 1;
        self.copied += bytes as u64;
    }

    /// One call that moved `bytes` without a copy, or, where the kernel copies inside, with one.
    pub(crate) fn pass(&mut self, bytes: usize, copies: bool) {
        self.calls += 1;
        if copies {
            self.copied += bytes as u64;
        } else {
            self.uncopied += bytes as u64;
        }
    }
}

/// What a mover did, and why it did less than requested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The bytes that it moved.
    pub account: Account,
    /// Why more of them were copied than requested.
    pub fallback: Option<Fallback>,
    /// Why system calls moved them instead of io_uring.
    pub calls_because: Option<Fallback>,
}

/// Why bytes are copied although the mover should avoid it. The text is a reason that can follow a colon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fallback {
    /// A system call that the mode needs was refused.
    #[error("{call}: {}", error.desc())]
    Refused {
        /// The call, and what it was about.
        call: &'static str,
        /// The kernel's error.
        error: Errno,
    },
    /// The kernel accepts the call and copies internally.
    #[error("the kernel copies what {call} carries over {kind}")]
    CopiedInside {
        /// The call.
        call: &'static str,
        /// The kind of socket.
        kind: &'static str,
    },
    /// vsock copies blocks that it has to split (`virtio_transport_can_zcopy`, virtio_transport_common.c).
    #[error("the kernel copies blocks that do not fit whole into the receiver's buffer")]
    Cut,
    /// The kernel cannot map what such a socket received.
    #[error("the kernel does not map data received over {kind}")]
    NotMapped {
        /// The kind of socket.
        kind: &'static str,
    },
    /// The mode is not for this kind of socket.
    #[error("there is no {mode} for {kind}")]
    NotFor {
        /// The mode.
        mode: &'static str,
        /// The kind of socket.
        kind: &'static str,
    },
    /// Little of the data could be mapped, most likely because segments end inside pages.
    #[error(
        "only {percent} % could be mapped: segments of {segment} bytes do not fill pages of {page} \
         (use an MTU that leaves a multiple of {page})"
    )]
    Segments {
        /// Bytes per segment, as the receiving kernel estimates them (`tcpi_rcv_mss`).
        segment: u32,
        /// Bytes per page.
        page: usize,
        /// Share of the bytes that were mapped.
        percent: u64,
    },
    /// Little of the data could be mapped, because of the memory it is in.
    #[error(
        "only {percent} % could be mapped: the payload is not in single pages of the network stack: the \
         sender copies or sends a file over loopback, or the network card does not split headers"
    )]
    Pages {
        /// Share of the bytes that were mapped.
        percent: u64,
    },
    /// Little of the data received over vsock could be mapped.
    #[error(
        "only {percent} % could be mapped: the packets are not in whole pages: the sender may write less than \
         32 KiB at a time"
    )]
    Packets {
        /// Share of the bytes that were mapped.
        percent: u64,
    },
    /// Little of the data received over vsock could be mapped, because it is in the sender's pages.
    #[error(
        "only {percent} % could be mapped: a sender on this machine uses MSG_ZEROCOPY, whose pages cannot be mapped"
    )]
    SendersPages {
        /// Share of the bytes that were mapped.
        percent: u64,
    },
    /// A sysctl forbids io_uring to the process (`io_uring_allowed`, io_uring/io_uring.c, since Linux 6.6).
    #[error(
        "io_uring_setup: {}, since the sysctl kernel.io_uring_disabled is {value}{}",
        Errno::EPERM.desc(),
        if *value == 1 { ": it takes CAP_SYS_ADMIN or a group (kernel.io_uring_group)" } else { "" }
    )]
    UringDisabled {
        /// The sysctl's value: 1, or 2 for all processes.
        value: u8,
    },
    /// The kernel's io_uring can't do what its movers need.
    #[error("this kernel's io_uring has no bundles of buffers (Linux 6.10)")]
    NoBundles,
    /// A guest receives from outside through the stock driver.
    #[error(
        "the guest's driver receives into single buffers: load virtio_vsock_pages in place of \
         vmw_vsock_virtio_transport"
    )]
    SingleBuffers,
    /// `ENOBUFS` with nothing in flight.
    #[error("the kernel pins no more memory (RLIMIT_MEMLOCK, net.core.optmem_max)")]
    PinLimit,
    /// Neither the kernel nor the module has the mapping of received vsock data.
    #[error("this kernel does not map vsock data, and {device}: {}", error.desc())]
    NoVsockMapping {
        /// The device that would add it.
        device: String,
        /// The error of opening it, or of its call.
        error: Errno,
    },
}

impl Fallback {
    /// A call that failed.
    pub(crate) fn refused(call: &'static str, error: &io::Error) -> Self {
        let error = errno(error);
        Self::Refused { call, error }
    }

    /// Whether the mover itself copies from then on. Otherwise it continues as requested, and the kernel copies.
    pub fn ends_the_mode(&self) -> bool {
        !matches!(self, Self::CopiedInside { .. } | Self::Cut)
    }
}

/// The kernel's error, for a [`Fallback`].
pub(crate) fn errno(error: &io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::UnknownErrno, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_add_up() {
        let mut one = Account::default();
        one.copy(3);
        one.pass(5, false);
        one.pass(7, true);
        assert_eq!((one.calls, one.uncopied, one.copied), (3, 5, 10));
        assert_eq!(one.bytes(), 15);
    }

    #[test]
    fn a_reason_names_the_call_and_the_error() {
        let refused = Fallback::Refused {
            call: "mmap",
            error: Errno::ENODEV,
        };
        assert_eq!(refused.to_string(), "mmap: No such device");
    }
}
