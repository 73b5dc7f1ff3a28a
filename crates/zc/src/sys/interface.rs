//! The kernel's description of a network interface: `ioctl` on any socket of its network namespace. None of it needs
//! privileges, and unlike `/sys/class/net`, which may show another namespace, it is always about the caller's own.

use std::io;
use std::mem::zeroed;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::raw::c_char;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrStorage;
use socket2::{Domain, Socket, Type};

/// Commands of `include/uapi/linux/ethtool.h`.
const ETHTOOL_GSET: u32 = 0x01;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GFLAGS: u32 = 0x25;
/// `ETH_FLAG_LRO`.
const FLAG_LRO: u32 = 1 << 15;
/// Queries that answer with 0 or 1, and what `ethtool -k` calls their subjects.
const SWITCHES: [(u32, &str); 6] = [
    (0x14, "rx-checksumming"),
    (0x16, "tx-checksumming"),
    (0x18, "scatter-gather"),
    (0x1e, "tcp-segmentation-offload"),
    (0x23, "generic-segmentation-offload"),
    (0x2b, "generic-receive-offload"),
];

/// An interface of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Interface {
    socket: Socket,
    name: [c_char; libc::IFNAMSIZ],
}

/// The interface that a connection between these addresses goes over: the one that has the local address. A connection
/// to an own address goes over the loopback interface, whose address it need not have.
pub fn of_route(local: IpAddr, remote: IpAddr) -> Option<String> {
    let (local, remote) = (local.to_canonical(), remote.to_canonical());
    let mut addresses = getifaddrs().ok()?;
    let found = addresses.find(|interface| {
        if local == remote {
            return interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        }
        interface.address.as_ref().and_then(ip) == Some(local)
    })?;
    Some(found.interface_name)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|inet| inet.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|inet| inet.ip().into()))
}

/// The NUMA node that the interface's device belongs to; `None` without a device, and on machines without nodes.
pub fn numa_node(name: &str) -> Option<u64> {
    let read = |file: &str| std::fs::read_to_string(format!("/sys/class/net/{name}/{file}")).ok();
    // The files may be those of another network namespace.
    let index: u32 = read("ifindex")?.trim().parse().ok()?;
    if name.contains('/') || if_nametoindex(name).ok()? != index {
        return None;
    }
    // -1 means none.
    read("device/numa_node")?.trim().parse().ok()
}

/// `struct ethtool_value`.
#[repr(C)]
struct SingleValue {
    cmd: u32,
    data: u32,
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// `struct ethtool_cmd`.
#[repr(C)]
struct LinkSettings {
    cmd: u32,
    supported: u32,
    advertising: u32,
    speed: u16,
    middle: [u8; 14],
    speed_hi: u16,
    rest: [u8; 14],
}

impl Interface {
    /// The interface of this name, which need not exist.
    pub fn open(name: &str) -> io::Result<Self> {
        let bytes = name.as_bytes();
        let mut array = [0; libc::IFNAMSIZ];
        if bytes.len() >= array.len() || bytes.contains(&0) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in array.iter_mut().zip(bytes) {
            *to = from.cast_signed() as c_char;
        }
        Ok(Self {
            socket: Socket::new(Domain::IPV4, Type::DGRAM, None)
                .or_else(|_| Socket::new(Domain::IPV6, Type::DGRAM, None))?,
            name: array,
        })
    }

    /// Its largest packet in bytes.
    pub fn mtu(&self) -> Option<u32> {
        let mut request = self.request();
        // SAFETY: SIOCGIFMTU reads the name in `request` and writes an int into its union: both lie within the structure.
        let result = unsafe {
            libc::ioctl(
                self.socket.as_raw_fd(),
                libc::SIOCGIFMTU as _,
                &raw mut request,
            )
        };
        if result != 0 {
            return None;
        }
        // SAFETY: the union was zeroed and the kernel wrote an int there; any bytes are a valid int.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        u32::try_from(mtu).ok()
    }

    /// The name of its driver.
    pub fn driver(&self) -> Option<String> {
        let mut info = DriverInfo {
            cmd: ETHTOOL_GDRVINFO,
            driver: [0; 32],
            rest: [0; 160],
        };
        // SAFETY: for this command the kernel writes one `struct ethtool_drvinfo`, 196 bytes, which is `info`'s size.
        let answered = unsafe { self.ethtool((&raw mut info).cast()) };
        let length = info.driver.iter().position(|byte| *byte == 0)?;
        let name = String::from_utf8_lossy(&info.driver[..length]);
        (answered && !name.is_empty()).then(|| name.into_owned())
    }

    /// The speed of its link in Mbit/s. Drivers without one report nothing, 0 or all ones.
    pub fn speed_mbps(&self) -> Option<u32> {
        let mut settings = LinkSettings {
            cmd: ETHTOOL_GSET,
            supported: 0,
            advertising: 0,
            speed: 0,
            middle: [0; 14],
            speed_hi: 0,
            rest: [0; 14],
        };
        // SAFETY: for this command the kernel writes one `struct ethtool_cmd`, 44 bytes, which is `settings`' size.
        let answered = unsafe { self.ethtool((&raw mut settings).cast()) };
        let speed = u32::from(settings.speed_hi) << 16 | u32::from(settings.speed);
        let known = speed != 0 && speed != u32::MAX && speed != u32::from(u16::MAX);
        (answered && known).then_some(speed)
    }

    /// The offloads that are on, by the names of `ethtool -k`; `None` if it reports none.
    pub fn offloads(&self) -> Option<Vec<&'static str>> {
        let mut answers = 0;
        let mut on = Vec::new();
        let flags = self.value(ETHTOOL_GFLAGS);
        let lro = flags.map(|flags| (flags & FLAG_LRO, "large-receive-offload"));
        let switches = SWITCHES.map(|(command, name)| Some((self.value(command)?, name)));
        for (value, name) in switches.into_iter().chain([lro]).flatten() {
            answers += 1;
            if value != 0 {
                on.push(name);
            }
        }
        (answers > 0).then_some(on)
    }

    fn value(&self, cmd: u32) -> Option<u32> {
        let mut value = SingleValue { cmd, data: 0 };
        // SAFETY: for these commands the kernel writes one `struct ethtool_value`, 8 bytes, which is `value`'s size.
        let answered = unsafe { self.ethtool((&raw mut value).cast()) };
        answered.then_some(value.data)
    }

    /// Makes the call; whether it succeeded.
    ///
    /// # Safety
    ///
    /// `command` points to the live, writable structure that the command in its first four bytes works on.
    unsafe fn ethtool(&self, command: *mut c_char) -> bool {
        let mut request = self.request();
        request.ifr_ifru.ifru_data = command;
        // SAFETY: SIOCETHTOOL reads the name and the pointer in `request`; the caller vouches for what it points to.
        let result = unsafe {
            libc::ioctl(
                self.socket.as_raw_fd(),
                libc::SIOCETHTOOL as _,
                &raw mut request,
            )
        };
        result == 0
    }

    fn request(&self) -> libc::ifreq {
        // SAFETY: the structure is plain old data, and all zeroes are a valid value of it.
        let mut request: libc::ifreq = unsafe { zeroed() };
        request.ifr_name = self.name;
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_of_the_kernels() {
        assert_eq!(size_of::<SingleValue>(), 8);
        assert_eq!(size_of::<DriverInfo>(), 196);
        assert_eq!(size_of::<LinkSettings>(), 44);
        assert_eq!(std::mem::offset_of!(LinkSettings, speed_hi), 28);
    }

    #[test]
    fn the_loopback_interface_has_an_mtu_and_offloads() {
        let lo = Interface::open("lo").unwrap();
        assert!(lo.mtu().unwrap() >= 1280, "{:?}", lo.mtu());
        let offloads = lo.offloads().unwrap();
        assert!(offloads.contains(&"scatter-gather"), "{offloads:?}");
    }

    #[test]
    fn a_connection_to_this_machine_goes_over_the_loopback_interface() {
        let local = "127.0.0.1".parse().unwrap();
        assert_eq!(of_route(local, local).as_deref(), Some("lo"));
        let nobodys = "192.0.2.77".parse().unwrap();
        assert_eq!(of_route(nobodys, local), None);
        assert_eq!(numa_node("lo"), None, "it has no device");
        assert_eq!(numa_node("../lo"), None);
    }

    #[test]
    fn a_missing_interface_reports_nothing() {
        let none = Interface::open("no-such-iface").unwrap();
        assert_eq!((none.mtu(), none.driver()), (None, None));
        assert_eq!((none.speed_mbps(), none.offloads()), (None, None));
        assert!(Interface::open("a-name-of-16-let").is_err());
        assert!(Interface::open("a\0b").is_err());
    }
}
