//! What limited a throughput test, and the evidence.

use crate::Role;

/// What kept data from going faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The window that the receiver advertises.
    ReceiveWindow,
    /// The sender's socket buffer.
    SendBuffer,
    /// The network: losses, or queues that fill.
    Congestion,
    /// The sender's thread, or its processor.
    SenderCpu,
    /// The receiver's thread, or its processor.
    ReceiverCpu,
    /// The requested rate (`-b`).
    Bitrate,
    /// The rate that the kernel was to keep to (`--fq-rate`).
    PacingRate,
    /// The sender, which had nothing to send.
    Application,
    /// The speed of an interface.
    Link,
    /// An interface that dropped packets.
    InterfaceDrops,
    /// The CPU time that a cgroup may use.
    Quota,
    /// The hypervisor, which gave processors to others.
    Steal,
    /// The receiver's socket, which had no room for datagrams.
    SocketBuffer,
    /// The peer of a vsock, which takes no more.
    Credit,
    /// There is no evidence.
    Unknown,
}

impl Cause {
    const ALL: [Self; 15] = [
        Self::ReceiveWindow,
        Self::SendBuffer,
        Self::Congestion,
        Self::SenderCpu,
        Self::ReceiverCpu,
        Self::Bitrate,
        Self::PacingRate,
        Self::Application,
        Self::Link,
        Self::InterfaceDrops,
        Self::Quota,
        Self::Steal,
        Self::SocketBuffer,
        Self::Credit,
        Self::Unknown,
    ];

    /// Its name in output and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReceiveWindow => "receive window",
            Self::SendBuffer => "send buffer",
            Self::Congestion => "congestion",
            Self::SenderCpu => "sender's CPU",
            Self::ReceiverCpu => "receiver's CPU",
            Self::Bitrate => "-b",
            Self::PacingRate => "--fq-rate",
            Self::Application => "application",
            Self::Link => "link",
            Self::InterfaceDrops => "interface drops",
            Self::Quota => "CPU quota",
            Self::Steal => "steal time",
            Self::SocketBuffer => "receiver's socket buffer",
            Self::Credit => "vsock credit",
            Self::Unknown => "unknown",
        }
    }

    /// The cause with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }
}

/// A cause that held for a part of the test.
#[derive(Clone, Debug, PartialEq)]
pub struct Limitation {
    /// What this end does with the data that it is about.
    pub role: Role,
    /// What it was.
    pub cause: Cause,
    /// For which part of the test it held, from 0 to 1; of losses, the part of the data that was lost.
    pub share: f64,
    /// The evidence, in words.
    pub evidence: String,
}

impl Limitation {
    /// Whether it names where data that this end sent was lost.
    pub fn is_loss(&self) -> bool {
        self.role.sends() && matches!(self.cause, Cause::Congestion | Cause::SocketBuffer)
    }

    /// The same, as the other end sees it.
    #[must_use]
    pub fn of_peer(self) -> Self {
        Self {
            role: self.role.counterpart(),
            ..self
        }
    }
}
