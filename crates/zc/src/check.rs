//! Which copies each transport can avoid on this machine, why not, and what to do about it. Sockets are tried, as far as
//! this machine can have both of their ends.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use iperf_model::SendMode;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::account::errno;
use crate::guest::{self, Driver};
use crate::probe;
use crate::receive::map::{self, MapOptions};
use crate::sys::vsock_zerocopy::DEVICE;

/// How much of what passes need not be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All, or nearly all.
    Yes,
    /// Some, or under conditions.
    Partly,
    /// Nothing.
    No,
}

/// What was found out about one way of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The transport, and the direction.
    pub way: &'static str,
    /// How much need not be copied.
    pub extent: Extent,
    /// How, or why not.
    pub reason: String,
    /// What helps, if something does.
    pub remedy: Option<String>,
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
        })
    }
}

impl Finding {
    fn new(way: &'static str, extent: Extent, reason: impl Into<String>) -> Self {
        Self {
            way,
            extent,
            reason: reason.into(),
            remedy: None,
        }
    }

    fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }
}

/// Looks at every transport.
pub fn all() -> Vec<Finding> {
    let mut findings = tcp();
    findings.extend(udp());
    findings.push(Finding::new(
        "MPTCP, SCTP",
        Extent::No,
        "the kernel copies in all modes",
    ));
    findings.extend(vsock_here());
    findings.extend(vsock_of_a_guest());
    findings.push(vsock_from_guests());
    findings.push(Finding::new(
        "VMM's socket, send",
        Extent::Yes,
        "sendfile, splice",
    ));
    findings.push(Finding::new(
        "VMM's socket, receive",
        Extent::No,
        "the kernel does not map data received over Unix sockets",
    ));
    findings
}

/// The modes that work on a socket, or why each does not.
fn sending(way: &'static str, socket: BorrowedFd<'_>, modes: &[(&str, SendMode)]) -> Finding {
    let (mut work, mut refused) = (Vec::new(), Vec::new());
    for (name, mode) in modes {
        match probe::send_support(socket, *mode) {
            Ok(()) => work.push(*name),
            Err(why) => refused.push(format!("{name}: {why}")),
        }
    }
    if work.is_empty() {
        Finding::new(way, Extent::No, refused.join("; "))
    } else {
        Finding::new(way, Extent::Yes, work.join(", "))
    }
}

/// A socket that cannot be made.
fn no_socket(way: &'static str, error: &io::Error) -> Finding {
    Finding::new(way, Extent::No, error.to_string())
}

/// Why a connected socket maps nothing; `None` if it can.
fn why_unmapped(socket: BorrowedFd<'_>) -> Option<String> {
    match map::receiver(socket, &MapOptions::new(map::DEFAULT_WINDOW), None) {
        Ok(mover) => mover.report().fallback.map(|why| why.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

fn tcp() -> Vec<Finding> {
    let (send, receive) = ("TCP, send", "TCP, receive");
    let pair = TcpListener::bind("127.0.0.1:0").and_then(|listener| {
        let sender = TcpStream::connect(listener.local_addr()?)?;
        Ok((sender, listener.accept()?.0))
    });
    let (sender, receiver) = match pair {
        Ok(pair) => pair,
        Err(error) => return vec![no_socket(send, &error)],
    };
    let modes = [
        ("splice", SendMode::Splice),
        ("sendfile", SendMode::Sendfile),
        ("msg", SendMode::Msg),
    ];
    let receiving = match why_unmapped(receiver.as_fd()) {
        None => Finding::new(
            receive,
            Extent::Partly,
            "mmap maps payload that fills whole pages",
        )
        .with_remedy(
            "an MTU that leaves segments of whole pages, a network card that splits off headers; within this machine, \
             --zerocopy=msg",
        ),
        Some(why) => Finding::new(receive, Extent::No, why),
    };
    vec![sending(send, sender.as_fd(), &modes), receiving]
}

fn udp() -> Vec<Finding> {
    let send = "UDP, send";
    let sending = match UdpSocket::bind("127.0.0.1:0") {
        Ok(socket) => sending(send, socket.as_fd(), &[("msg", SendMode::Msg)]),
        Err(error) => no_socket(send, &error),
    };
    let receiving = "trunc drops the payload unread; datagrams are not mapped";
    vec![
        sending,
        Finding::new("UDP, receive", Extent::Partly, receiving),
    ]
}

/// A connected vsock within this machine.
fn vsock_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let listener = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    listener.bind(&SockAddr::vsock(
        libc::VMADDR_CID_LOCAL,
        libc::VMADDR_PORT_ANY,
    ))?;
    listener.listen(1)?;
    let sender = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    sender.connect_timeout(&listener.local_addr()?, Duration::from_secs(2))?;
    // It is there, or this fails.
    listener.set_nonblocking(true)?;
    Ok((sender.into(), listener.accept()?.0.into()))
}

fn vsock_here() -> Vec<Finding> {
    let (send, receive) = (
        "vsock in this machine, send",
        "vsock in this machine, receive",
    );
    let (sender, receiver) = match vsock_pair() {
        Ok(pair) => pair,
        Err(error) => {
            let missing = |way| no_socket(way, &error).with_remedy("modprobe vsock_loopback");
            return vec![missing(send), missing(receive)];
        }
    };
    let receiving = match why_unmapped(receiver.as_fd()) {
        None => Finding::new(
            receive,
            Extent::Partly,
            "mmap maps what is written by copy, 32 KiB and more at a time",
        ),
        Some(why) => with_module_remedy(Finding::new(receive, Extent::No, why)),
    };
    let modes = [("msg", SendMode::Msg)];
    vec![sending(send, sender.as_fd(), &modes), receiving]
}

/// Why this program cannot have the calls of the module; `None` if it can, or if the kernel has them.
fn module_missing() -> Option<String> {
    let opened = File::options().read(true).write(true).open(DEVICE);
    let error = opened.err()?;
    Some(format!("{DEVICE}: {}", errno(&error).desc()))
}

fn with_module_remedy(finding: Finding) -> Finding {
    if !Path::new(DEVICE).exists() {
        finding.with_remedy("load the module vsock_zerocopy (crates/zc/kernel)")
    } else if module_missing().is_some() {
        finding.with_remedy(format!(
            "run as root, or let this user open {DEVICE} (see crates/zc/kernel)"
        ))
    } else {
        finding
    }
}

/// With the driver's parameter set, each packet has one piece, and none is a page of the sender's.
fn splits_packets() -> bool {
    fs::read_to_string("/sys/module/virtio_vsock_pages/parameters/split")
        .is_ok_and(|value| value.starts_with('Y'))
}

fn vsock_of_a_guest() -> Vec<Finding> {
    let (send, receive) = ("vsock to the host, send", "vsock from the host, receive");
    let Some(driver) = guest::driver() else {
        let why = "this machine has no vsock device: it is no guest, or its VMM gives it none";
        return vec![Finding::new(receive, Extent::No, why)];
    };
    let sending = match driver {
        Driver::Other => {
            let why = "no driver has this machine's vsock device";
            Finding::new(send, Extent::No, why).with_remedy("modprobe vmw_vsock_virtio_transport")
        }
        Driver::Pages if splits_packets() => Finding::new(
            send,
            Extent::No,
            "virtio_vsock_pages was loaded with split=1: it sends packets of one piece",
        ),
        Driver::Stock | Driver::Pages => Finding::new(
            send,
            Extent::Partly,
            "msg, if the VMM takes packets of many pieces (vhost-device-vsock and libkrun do not)",
        ),
    };
    vec![sending, receiving_in_a_guest(receive, driver)]
}

fn receiving_in_a_guest(way: &'static str, driver: Driver) -> Finding {
    let missing = module_missing();
    match (driver, missing) {
        (Driver::Pages, None) => Finding::new(way, Extent::Yes, "mmap"),
        (Driver::Pages, Some(why)) => with_module_remedy(Finding::new(way, Extent::No, why)),
        (_, missing) => {
            let why = "the guest's driver receives into single buffers";
            let also = missing.map_or("", |_| ", and vsock_zerocopy");
            Finding::new(way, Extent::No, why).with_remedy(format!(
                "load virtio_vsock_pages instead of vmw_vsock_virtio_transport{also} (crates/zc/kernel)"
            ))
        }
    }
}

fn vsock_from_guests() -> Finding {
    let way = "vsock from guests, receive";
    if !Path::new("/dev/vhost-vsock").exists() {
        return Finding::new(way, Extent::No, "this machine has no /dev/vhost-vsock")
            .with_remedy("modprobe vhost_vsock, for guests of QEMU with vhost-vsock-pci");
    }
    match module_missing() {
        None => Finding::new(
            way,
            Extent::Partly,
            "mmap maps what guests write 32 KiB and more at a time",
        ),
        Some(why) => with_module_remedy(Finding::new(way, Extent::No, why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transport_has_a_finding_and_what_fails_a_reason() {
        let findings = all();
        for way in [
            "TCP, send",
            "TCP, receive",
            "UDP, send",
            "VMM's socket, send",
        ] {
            assert!(findings.iter().any(|it| it.way == way), "{way}");
        }
        assert!(findings.iter().all(|it| !it.reason.is_empty()));
        let tcp = findings.iter().find(|it| it.way == "TCP, send").unwrap();
        assert_eq!(
            (tcp.extent, tcp.reason.as_str()),
            (Extent::Yes, "splice, sendfile, msg")
        );
    }

    #[test]
    fn a_guest_with_the_stock_driver_learns_what_to_load() {
        let finding = receiving_in_a_guest("x", Driver::Stock);
        assert_eq!(finding.extent, Extent::No);
        assert_eq!(
            finding.reason,
            "the guest's driver receives into single buffers"
        );
        assert!(finding.remedy.unwrap().contains("virtio_vsock_pages"));
    }
}
