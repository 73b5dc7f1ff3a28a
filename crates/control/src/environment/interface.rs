//! The interface of a route: the one that has the connection's local address.

use std::net::IpAddr;

use iperf_model::environment::Interface;
use iperf_zc::interface::Interface as Kernel;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use super::Route;

/// What is known of it. A connection to an own address goes over the loopback interface, whose address it does not have.
pub(super) fn of(route: Route) -> Option<Interface> {
    let own = route.local.to_canonical() == route.remote.to_canonical();
    let local = route.local.to_canonical();
    let mut addresses = getifaddrs().ok()?;
    let found = addresses.find(|interface| {
        if own {
            return interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        }
        interface.address.as_ref().and_then(ip) == Some(local)
    })?;
    Some(describe(found.interface_name))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|inet| inet.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|inet| inet.ip().into()))
}

fn describe(name: String) -> Interface {
    let Ok(kernel) = Kernel::open(&name) else {
        return Interface {
            name,
            ..Interface::default()
        };
    };
    Interface {
        driver: kernel.driver(),
        speed_mbps: kernel.speed_mbps().map(u64::from),
        mtu: kernel.mtu().map(u64::from),
        offloads: kernel
            .offloads()
            .map(|names| names.into_iter().map(str::to_owned).collect()),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_to_this_machine_goes_over_the_loopback_interface() {
        let local = "127.0.0.1".parse().unwrap();
        let interface = of(Route {
            local,
            remote: local,
        });
        let interface = interface.unwrap();
        assert_eq!(interface.name, "lo");
        assert!(interface.mtu.is_some());
        let elsewhere = Route {
            local: "192.0.2.77".parse().unwrap(),
            remote: local,
        };
        assert_eq!(of(elsewhere), None, "nobody has this address");
    }
}
