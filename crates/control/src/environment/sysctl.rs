//! Settings of the kernel that shape buffers and queues, of the network namespace of the caller.

use iperf_model::environment::Sysctl;

use super::files::Files;

/// What there is; `None` without any.
pub(super) fn read(files: &Files) -> Option<Sysctl> {
    let core = |name: &str| format!("proc/sys/net/core/{name}");
    let ipv4 = |name: &str| format!("proc/sys/net/ipv4/{name}");
    let sysctl = Sysctl {
        rmem_default: files.number(&core("rmem_default")),
        rmem_max: files.number(&core("rmem_max")),
        wmem_default: files.number(&core("wmem_default")),
        wmem_max: files.number(&core("wmem_max")),
        optmem_max: files.number(&core("optmem_max")),
        netdev_max_backlog: files.number(&core("netdev_max_backlog")),
        busy_poll: files.number(&core("busy_poll")),
        busy_read: files.number(&core("busy_read")),
        default_qdisc: files.line(&core("default_qdisc")),
        tcp_rmem: files.numbers(&ipv4("tcp_rmem")),
        tcp_wmem: files.numbers(&ipv4("tcp_wmem")),
        tcp_congestion_control: files.line(&ipv4("tcp_congestion_control")),
    };
    (sysctl != Sysctl::default()).then_some(sysctl)
}

#[cfg(test)]
mod tests {
    use super::super::files::tests::tree;
    use super::*;

    #[test]
    fn a_namespace_without_some_settings_has_the_others() {
        let (_directory, files) = tree(&[
            ("proc/sys/net/core/rmem_max", "212992\n"),
            ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
            ("proc/sys/net/ipv4/tcp_congestion_control", "bbr\n"),
        ]);
        let want = Sysctl {
            rmem_max: Some(212_992),
            tcp_rmem: Some(vec![4096, 131_072, 6_291_456]),
            tcp_congestion_control: Some("bbr".to_owned()),
            ..Sysctl::default()
        };
        assert_eq!(read(&files), Some(want));
        let (_directory, files) = tree(&[]);
        assert_eq!(read(&files), None);
    }
}
