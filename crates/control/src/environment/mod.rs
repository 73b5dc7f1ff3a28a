//! The machine that this end runs on, as far as a program without privileges can find out.
//!
//! ```text
//! files      bounded reads below a root: /, or a made-up tree in tests
//! machine    /proc and /sys: processors, memory, clock, hypervisor, container
//! sysctl     /proc/sys/net
//! interface  the route of the control connection: getifaddrs, ioctl
//! steal      /proc/stat
//! observation  all of it over one test
//! ```
//!
//! Nothing here fails: what can't be read is absent. Reading takes about a millisecond, on some machines more, so it is
//! done on a thread of its own.

mod files;
mod interface;
mod machine;
mod observation;
mod steal;
mod sysctl;

use std::net::IpAddr;

use iperf_model::Environment;

use files::Files;
pub use observation::Observation;
pub(crate) use steal::Steal;

/// The two ends of a connection, by which its interface is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    /// The address of this end.
    local: IpAddr,
    /// The address of the peer.
    remote: IpAddr,
}

/// All facts, for a control connection of this route; over vsock it has none.
fn collect(route: Option<Route>) -> Environment {
    let files = Files::of_system();
    Environment {
        interface: route.and_then(interface::of),
        sysctl: sysctl::read(&files),
        ..machine::read(&files)
    }
}
