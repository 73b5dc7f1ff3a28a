//! The machine that an end of a test runs on: what makes two results comparable, or not.
//!
//! Nothing here names a user or a host. What the system does not report is absent.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// Facts of one machine that hold during a test.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// Name and release of the system, as `Linux 6.12.0`.
    pub kernel: Option<String>,
    /// Model of the processor.
    pub cpu: Option<String>,
    /// Processors that are online.
    pub cpus: Option<u64>,
    /// Processors that this program may use: affinity and the quota of a container limit them.
    pub cpus_usable: Option<u64>,
    /// How the frequency of the first processor is chosen (cpufreq), as `performance`.
    pub governor: Option<String>,
    /// The hypervisor: `kvm`, `microsoft`, `vmware`, `xen`…, `vm` for one without a name, or `none`.
    pub virtualization: Option<String>,
    /// What the program is contained in, as `docker` or `lxc`; absent outside of containers.
    pub container: Option<String>,
    /// The kernel's clock, as `tsc`.
    pub clocksource: Option<String>,
    /// Memory of the machine in bytes.
    pub memory_bytes: Option<u64>,
    /// The interface that the control connection goes through; absent over vsock and Unix sockets.
    pub interface: Option<Interface>,
    /// Settings of the kernel that shape buffers and queues.
    pub sysctl: Option<Sysctl>,
}

/// A network interface.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name on this machine.
    pub name: String,
    /// The driver, as `virtio_net`.
    pub driver: Option<String>,
    /// Speed of the link in Mbit/s, if the driver knows one.
    pub speed_mbps: Option<u64>,
    /// Largest packet in bytes.
    pub mtu: Option<u64>,
    /// NUMA node of its device; absent without a device, and on machines without nodes.
    pub numa_node: Option<u64>,
    /// Offloads that are on, by the names of `ethtool -k`; absent if the interface reports none.
    pub offloads: Option<Vec<String>>,
}

/// Settings below `/proc/sys/net`, by the last parts of their names. A network namespace has only some of them.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sysctl {
    /// `net.core.rmem_default` in bytes.
    pub rmem_default: Option<u64>,
    /// `net.core.rmem_max` in bytes.
    pub rmem_max: Option<u64>,
    /// `net.core.wmem_default` in bytes.
    pub wmem_default: Option<u64>,
    /// `net.core.wmem_max` in bytes.
    pub wmem_max: Option<u64>,
    /// `net.core.optmem_max` in bytes.
    pub optmem_max: Option<u64>,
    /// `net.core.netdev_max_backlog` in packets.
    pub netdev_max_backlog: Option<u64>,
    /// `net.core.busy_poll` in microseconds.
    pub busy_poll: Option<u64>,
    /// `net.core.busy_read` in microseconds.
    pub busy_read: Option<u64>,
    /// `net.core.default_qdisc`.
    pub default_qdisc: Option<String>,
    /// `net.ipv4.tcp_rmem`: least, initial and most bytes of a receive buffer.
    pub tcp_rmem: Option<Vec<u64>>,
    /// `net.ipv4.tcp_wmem`: least, initial and most bytes of a send buffer.
    pub tcp_wmem: Option<Vec<u64>>,
    /// `net.ipv4.tcp_congestion_control`: the default of new connections.
    pub tcp_congestion_control: Option<String>,
}

/// What is known of both machines when a test is over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnvironmentAfter {
    /// Time of this machine's processors, in percent, that the hypervisor gave to others during the test.
    pub steal_percent: Option<f64>,
    /// The peer's report of its own machine, if the peer is this program.
    pub remote: Option<RemoteEnvironment>,
}

/// The peer's report of its machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteEnvironment {
    /// The peer's version.
    pub version: Option<String>,
    /// As in [`EnvironmentAfter`], of the peer's machine.
    pub steal_percent: Option<f64>,
    /// The facts.
    pub environment: Environment,
}
