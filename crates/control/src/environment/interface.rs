//! The interface of a route: the one that has the connection's local address.

use iperf_model::environment::Interface;
use iperf_zc::interface::{self, Interface as Kernel};

use super::Route;

/// What is known of it.
pub(super) fn of(route: Route) -> Option<Interface> {
    interface::of_route(route.local, route.remote).map(describe)
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
        numa_node: interface::numa_node(&name),
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
        assert_eq!(of(elsewhere), None, "no interface has this address");
    }
}
