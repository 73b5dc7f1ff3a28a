//! Which copies each transport can avoid on this machine, why not, and what to do about it. Sockets are tried, as far as
//! this machine can have both of their ends.

mod way;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use iperf_model::SendMode;
use nix::errno::Errno;
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

/// A way of data: a transport, its other end where that matters, and a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// What carries the data.
    pub transport: &'static str,
    /// Which other end is meant, of a transport with several kinds.
    pub peer: Option<&'static str>,
    /// `send` or `receive`.
    pub direction: &'static str,
    /// The transport and its other end in words.
    pub name: &'static str,
}

impl Way {
    /// All of it in words.
    pub fn words(&self) -> String {
        format!("{}, {}", self.name, self.direction)
    }
}

/// Both directions of a transport.
struct Ways {
    send: Way,
    receive: Way,
}

impl Ways {
    /// `to` and `from` are the names for sending and for receiving.
    const fn new(
        transport: &'static str,
        peer: Option<&'static str>,
        to: &'static str,
        from: &'static str,
    ) -> Self {
        Self {
            send: Way {
                transport,
                peer,
                direction: "send",
                name: to,
            },
            receive: Way {
                transport,
                peer,
                direction: "receive",
                name: from,
            },
        }
    }

    /// The same finding for both.
    fn both(&self, finding: impl Fn(Way) -> Finding) -> Vec<Finding> {
        vec![finding(self.send), finding(self.receive)]
    }
}

/// What was found out about one way of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The transport, and the direction.
    pub way: Way,
    /// How much need not be copied.
    pub extent: Extent,
    /// The modes of `--zerocopy` or `--zerocopy-rx` that avoid the copy.
    pub modes: Vec<&'static str>,
    /// How, or why not.
    pub reason: String,
    /// What helps, if something does.
    pub remedy: Option<String>,
}

impl Extent {
    /// `yes`, `partly` or `no`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Finding {
    fn new(way: Way, extent: Extent, modes: &[&'static str], reason: impl Into<String>) -> Self {
        Self {
            way,
            extent,
            modes: modes.to_vec(),
            reason: reason.into(),
            remedy: None,
        }
    }

    /// Everything is copied.
    fn no(way: Way, reason: impl Into<String>) -> Self {
        Self::new(way, Extent::No, &[], reason)
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
    for others in [way::MPTCP, way::SCTP] {
        findings.extend(others.both(|way| Finding::no(way, "the kernel copies in all modes")));
    }
    findings.extend(vsock_here());
    findings.extend(vsock_of_a_guest());
    findings.extend(vsock_of_guests());
    findings.extend(vmm());
    findings
}

const STREAM_MODES: [(&str, SendMode); 3] = [
    ("splice", SendMode::Splice),
    ("sendfile", SendMode::Sendfile),
    ("msg", SendMode::Msg),
];
const MSG: [(&str, SendMode); 1] = [("msg", SendMode::Msg)];

/// The modes that work on a socket, or why each does not.
fn sending(way: Way, socket: BorrowedFd<'_>, modes: &[(&'static str, SendMode)]) -> Finding {
    let (mut work, mut refused) = (Vec::new(), Vec::new());
    for (name, mode) in modes {
        match probe::send_support(socket, *mode) {
            Ok(()) => work.push(*name),
            Err(why) => refused.push(format!("{name}: {why}")),
        }
    }
    if work.is_empty() {
        Finding::no(way, refused.join("; "))
    } else {
        Finding::new(way, Extent::Yes, &work, work.join(", "))
    }
}

/// A socket that cannot be made.
fn no_socket(way: Way, error: &io::Error) -> Finding {
    Finding::no(way, errno(error).desc())
}

/// Why a connected socket maps nothing; `None` if it can.
fn why_unmapped(socket: BorrowedFd<'_>) -> Option<String> {
    match map::receiver(socket, &MapOptions::new(map::DEFAULT_WINDOW), None) {
        Ok(mover) => mover.report().fallback.map(|why| why.to_string()),
        Err(error) => Some(errno(&error).desc().to_owned()),
    }
}

fn tcp() -> Vec<Finding> {
    let pair = TcpListener::bind("127.0.0.1:0").and_then(|listener| {
        let sender = TcpStream::connect(listener.local_addr()?)?;
        Ok((sender, listener.accept()?.0))
    });
    let (sender, receiver) = match pair {
        Ok(pair) => pair,
        Err(error) => {
            return way::TCP.both(|way| no_socket(way, &error));
        }
    };
    let receiving = match why_unmapped(receiver.as_fd()) {
        None => Finding::new(
            way::TCP.receive,
            Extent::Partly,
            &["mmap", "splice", "trunc"],
            "mmap maps payload that fills whole pages; splice and trunc deliver no bytes to the program",
        )
        .with_remedy(
            "an MTU that leaves segments of whole pages, a network card that splits off headers; within this machine, \
             --zerocopy=msg",
        ),
        Some(why) => Finding::new(
            way::TCP.receive,
            Extent::Partly,
            &["splice", "trunc"],
            format!("mmap: {why}; splice and trunc deliver no bytes to the program"),
        ),
    };
    let sending = sending(way::TCP.send, sender.as_fd(), &STREAM_MODES);
    vec![without_loopback(sending), receiving]
}

/// The kernel copies the pages of `MSG_ZEROCOPY` when both ends are on one machine.
fn without_loopback(mut finding: Finding) -> Finding {
    if finding.modes.contains(&"msg") {
        finding.reason += " (to other machines only)";
    }
    finding
}

fn udp() -> Vec<Finding> {
    let sending = match UdpSocket::bind("127.0.0.1:0") {
        Ok(socket) => without_loopback(sending(way::UDP.send, socket.as_fd(), &MSG)),
        Err(error) => no_socket(way::UDP.send, &error),
    };
    let receiving = "trunc drops the payload unread; datagrams are not mapped";
    let receiving = Finding::new(way::UDP.receive, Extent::Partly, &["trunc"], receiving);
    vec![sending, receiving]
}

/// A socket of a VMM is a Unix socket.
fn vmm() -> Vec<Finding> {
    let pair = match UnixStream::pair() {
        Ok(pair) => pair,
        Err(error) => {
            return way::VMM.both(|way| no_socket(way, &error));
        }
    };
    let receiving = "splice delivers no bytes to the program; the kernel does not map data received over Unix sockets";
    vec![
        sending(way::VMM.send, pair.0.as_fd(), &STREAM_MODES),
        Finding::new(way::VMM.receive, Extent::Partly, &["splice"], receiving),
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

/// Why CID 1 cannot be used.
fn no_loopback(error: &io::Error) -> String {
    match errno(error) {
        Errno::EAFNOSUPPORT => "this kernel has no vsock".to_owned(),
        Errno::EADDRNOTAVAIL => "this machine has no CID 1".to_owned(),
        other => other.desc().to_owned(),
    }
}

fn vsock_here() -> Vec<Finding> {
    let (sender, receiver) = match vsock_pair() {
        Ok(pair) => pair,
        Err(error) => {
            let missing =
                |way| Finding::no(way, no_loopback(&error)).with_remedy("modprobe vsock_loopback");
            return way::LOCAL.both(missing);
        }
    };
    let receiving = match why_unmapped(receiver.as_fd()) {
        None => Finding::new(
            way::LOCAL.receive,
            Extent::Partly,
            &["mmap"],
            "mmap maps what is written by copy, 32 KiB and more at a time",
        ),
        Some(why) => with_module_remedy(Finding::no(way::LOCAL.receive, why)),
    };
    vec![sending(way::LOCAL.send, sender.as_fd(), &MSG), receiving]
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
    let Some(driver) = guest::driver() else {
        let why = "this machine has no vsock device: it is no guest, or its VMM gives it none";
        return way::HOST.both(|way| Finding::no(way, why));
    };
    vec![sending_in_a_guest(driver), receiving_in_a_guest(driver)]
}

fn sending_in_a_guest(driver: Driver) -> Finding {
    let way = way::HOST.send;
    match driver {
        Driver::Other => Finding::no(way, "no driver has this machine's vsock device")
            .with_remedy("modprobe vmw_vsock_virtio_transport"),
        Driver::Pages if splits_packets() => Finding::no(
            way,
            "virtio_vsock_pages was loaded with split=1: it sends packets of one piece",
        )
        .with_remedy("if the VMM takes packets of many pieces, load it without split=1"),
        Driver::Stock | Driver::Pages => Finding::new(
            way,
            Extent::Partly,
            &["msg"],
            "msg, if the VMM takes packets of many pieces (vhost-device-vsock and libkrun do not)",
        ),
    }
}

fn receiving_in_a_guest(driver: Driver) -> Finding {
    let way = way::HOST.receive;
    let missing = module_missing();
    match (driver, missing) {
        (Driver::Pages, None) => Finding::new(way, Extent::Yes, &["mmap"], "mmap"),
        (Driver::Pages, Some(why)) => with_module_remedy(Finding::no(way, why)),
        (driver, missing) => {
            let why = match driver {
                Driver::Stock => "the guest's driver receives into single buffers",
                _ => "no driver has this machine's vsock device",
            };
            let also = missing.map_or("", |_| ", and vsock_zerocopy");
            Finding::no(way, why).with_remedy(format!(
                "load virtio_vsock_pages instead of vmw_vsock_virtio_transport{also} (crates/zc/kernel)"
            ))
        }
    }
}

fn vsock_of_guests() -> Vec<Finding> {
    if !Path::new("/dev/vhost-vsock").exists() {
        let missing = |way| {
            Finding::no(way, "this machine has no /dev/vhost-vsock").with_remedy(
                "modprobe vhost_vsock, for guests of QEMU with vhost-vsock-pci or of crosvm",
            )
        };
        return way::GUESTS.both(missing);
    }
    let receiving = match module_missing() {
        None => Finding::new(
            way::GUESTS.receive,
            Extent::Partly,
            &["mmap"],
            "mmap maps what guests write 32 KiB and more at a time",
        ),
        Some(why) => with_module_remedy(Finding::no(way::GUESTS.receive, why)),
    };
    // Before Linux 6.7 the socket refuses this.
    let sending = match Socket::new(Domain::VSOCK, Type::STREAM, None) {
        Ok(socket) => sending(way::GUESTS.send, socket.as_fd(), &MSG),
        Err(error) => no_socket(way::GUESTS.send, &error),
    };
    vec![sending, receiving]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transport_has_both_directions_and_what_fails_a_reason() {
        let findings = all();
        let ways: Vec<_> = findings
            .iter()
            .map(|it| (it.way.transport, it.way.peer, it.way.direction))
            .collect();
        for (transport, peer) in [
            ("tcp", None),
            ("udp", None),
            ("mptcp", None),
            ("sctp", None),
            ("vsock", Some("local")),
            ("vsock", Some("host")),
            ("vsock", Some("guests")),
            ("unix", Some("vmm")),
        ] {
            for direction in ["send", "receive"] {
                let way = (transport, peer, direction);
                let count = ways.iter().filter(|it| **it == way).count();
                assert_eq!(count, 1, "{way:?}");
            }
        }
        for it in &findings {
            assert!(!it.reason.is_empty(), "{it:?}");
            assert_eq!(it.modes.is_empty(), it.extent == Extent::No, "{it:?}");
        }
        let tcp = findings.iter().find(|it| it.way == way::TCP.send).unwrap();
        assert_eq!(
            (tcp.extent, tcp.reason.as_str()),
            (
                Extent::Yes,
                "splice, sendfile, msg (to other machines only)"
            )
        );
        let vmm = findings.iter().find(|it| it.way == way::VMM.send).unwrap();
        assert_eq!(vmm.modes, ["splice", "sendfile"]);
    }

    #[test]
    fn a_guest_with_the_stock_driver_learns_what_to_load() {
        let finding = receiving_in_a_guest(Driver::Stock);
        assert_eq!(finding.extent, Extent::No);
        assert_eq!(
            finding.reason,
            "the guest's driver receives into single buffers"
        );
        assert!(finding.remedy.unwrap().contains("virtio_vsock_pages"));
        let finding = receiving_in_a_guest(Driver::Other);
        assert_eq!(finding.reason, "no driver has this machine's vsock device");
        let finding = sending_in_a_guest(Driver::Stock);
        assert_eq!(
            (finding.extent, finding.modes),
            (Extent::Partly, vec!["msg"])
        );
    }

    #[test]
    fn a_machine_without_loopback_is_told_in_words() {
        let why = |errno: Errno| no_loopback(&io::Error::from(errno));
        assert_eq!(why(Errno::EADDRNOTAVAIL), "this machine has no CID 1");
        assert_eq!(why(Errno::EAFNOSUPPORT), "this kernel has no vsock");
        assert_eq!(why(Errno::EACCES), "Permission denied");
    }
}
