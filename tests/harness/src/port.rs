//! Ports that no other test uses.
//!
//! A port is reserved by binding an abstract Unix socket named after it: the name is unique on the machine (in a
//! network namespace, to be exact), seen by every test process, and gone when its holder is. The ports are below
//! the range from which the kernel takes the local ports of connections, so no connection can take one away
//! between the reservation and the server's bind.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::procfs;

const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// A reserved run of ports; free again when dropped.
#[derive(Debug)]
pub struct Port {
    first: u16,
    _names: Vec<UnixListener>,
}

impl Port {
    /// Reserves one port.
    pub fn reserve() -> Self {
        Self::reserve_run(1)
    }

    /// Reserves `count` ports in a row, for clients that are given `--cport`.
    pub fn reserve_run(count: u16) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Tests that start together begin to look in different places.
        let spread = u16::try_from(process::id().wrapping_mul(97) % u32::from(COUNT)).unwrap_or(0);
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(count, Ordering::Relaxed);
            let first = FIRST + spread.wrapping_add(step) % (COUNT - count);
            let names: Option<Vec<_>> = (first..first + count).map(claim).collect();
            if let Some(names) = names {
                return Self {
                    first,
                    _names: names,
                };
            }
        }
        panic!(
            "no {count} ports in a row are free between {FIRST} and {}",
            FIRST + COUNT
        );
    }

    /// The first port of the run.
    pub fn number(&self) -> u16 {
        self.first
    }
}

fn claim(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("iperf-tests-port-{port}")).ok()?;
    let guard = UnixListener::bind_addr(&name).ok()?;
    (!procfs::port_in_use(port)).then_some(guard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpListener};

    #[test]
    fn a_port_is_reserved_once_and_can_be_bound() {
        let ports: Vec<Port> = (0..50).map(|_| Port::reserve()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
        for number in numbers {
            assert!(claim(number).is_none(), "{number} was given twice");
            TcpListener::bind((Ipv6Addr::UNSPECIFIED, number)).unwrap();
        }
    }

    #[test]
    fn runs_do_not_overlap() {
        let (a, b) = (Port::reserve_run(8), Port::reserve_run(8));
        assert!(a.number().abs_diff(b.number()) >= 8);
    }
}
