//! The ways of data, in the order of the table.

use super::Ways;

pub(super) const TCP: Ways = Ways::new("tcp", None, "TCP", "TCP");
pub(super) const UDP: Ways = Ways::new("udp", None, "UDP", "UDP");
pub(super) const MPTCP: Ways = Ways::new("mptcp", None, "MPTCP", "MPTCP");
pub(super) const SCTP: Ways = Ways::new("sctp", None, "SCTP", "SCTP");
pub(super) const LOCAL: Ways = Ways::new(
    "vsock",
    Some("local"),
    "vsock in this machine",
    "vsock in this machine",
);
pub(super) const HOST: Ways = Ways::new(
    "vsock",
    Some("host"),
    "vsock to the host",
    "vsock from the host",
);
pub(super) const GUESTS: Ways = Ways::new(
    "vsock",
    Some("guests"),
    "vsock to guests",
    "vsock from guests",
);
pub(super) const VMM: Ways = Ways::new("unix", Some("vmm"), "VMM's socket", "VMM's socket");
