//! What the machine did while a test ran: its processors, its interface, and the CPU quota of the program's cgroup. Read
//! twice, before the data flows and when it has stopped; the difference is what [`limits`](super::limits) judges.

mod cgroup;
mod traffic;

use std::net::IpAddr;
use std::time::Instant;

use iperf_zc::interface::{self, Interface};
use iperf_zc::proc_stat::Processors;

use crate::run::machine::cgroup::{Groups, Throttled};
pub(crate) use crate::run::machine::traffic::Counters;
use crate::run::machine::traffic::Traffic;

/// Drivers whose speed is invented: what is behind these interfaces is as fast as the machine is.
const WITHOUT_SPEED: [&str; 5] = ["veth", "tun", "bridge", "dummy", "openvswitch"];

/// Reads the machine from a moment on.
#[derive(Debug)]
pub(crate) struct Watched {
    link: Option<Link>,
    groups: Groups,
    before: Reading,
}

/// The interface of the data connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// In Mbit/s.
    pub(crate) speed: Option<u32>,
    /// In bytes.
    pub(crate) mtu: Option<u32>,
}

#[derive(Debug)]
struct Reading {
    at: Instant,
    processors: Option<Processors>,
    traffic: Option<Traffic>,
    throttled: Vec<Throttled>,
}

/// What the machine did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    /// Ticks of the processors.
    pub(crate) processors: Processors,
    pub(crate) quota: Option<Quota>,
    pub(crate) link: Option<Carried>,
}

/// For which part of the time the program's cgroup had used up its CPU time, and in how many of its periods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quota {
    pub(crate) share: f64,
    pub(crate) throttled: u64,
    pub(crate) periods: u64,
}

/// What the interface carried, in each direction.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) link: Link,
    pub(crate) seconds: f64,
    pub(crate) sent: Counters,
    pub(crate) received: Counters,
}

impl Watched {
    /// Reads from now on, for data connections between these addresses; `None`: they are not IP's.
    pub(crate) fn start(route: Option<(IpAddr, IpAddr)>) -> Self {
        let link = route.and_then(|(local, remote)| {
            let name = interface::of_route(local, remote)?;
            let kernel = Interface::open(&name).ok()?;
            let driver = kernel.driver().unwrap_or_default();
            let is_real = !WITHOUT_SPEED.contains(&driver.as_str());
            Some(Link {
                speed: kernel.speed_mbps().filter(|_| is_real),
                mtu: kernel.mtu(),
                name,
            })
        });
        let groups = Groups::own();
        let before = Reading::now(link.as_ref(), &groups);
        Self {
            link,
            groups,
            before,
        }
    }

    /// Everything counts from now on.
    pub(crate) fn restart(&mut self) {
        self.before = Reading::now(self.link.as_ref(), &self.groups);
    }

    /// What happened until now.
    pub(crate) fn until_now(&self) -> Conditions {
        let now = Reading::now(self.link.as_ref(), &self.groups);
        let seconds = now.at.saturating_duration_since(self.before.at);
        let seconds = seconds.as_secs_f64();
        let processors = now.processors.zip(self.before.processors.as_ref());
        let traffic = now.traffic.zip(self.before.traffic);
        let link = self.link.clone().zip(traffic);
        Conditions {
            processors: processors
                .map(|(now, before)| now.since(before))
                .unwrap_or_default(),
            quota: quota(&self.before.throttled, &now.throttled, seconds),
            link: link.map(|(link, (now, before))| Carried {
                link,
                seconds,
                sent: now.sent.since(before.sent),
                received: now.received.since(before.received),
            }),
        }
    }
}

impl Reading {
    fn now(link: Option<&Link>, groups: &Groups) -> Self {
        Self {
            at: Instant::now(),
            processors: Processors::now(),
            traffic: link.and_then(|link| Traffic::of(&link.name)),
            throttled: groups.read(),
        }
    }
}

/// The quota that held the program back most: its cgroup's own, or that of one around it.
fn quota(before: &[Throttled], now: &[Throttled], seconds: f64) -> Option<Quota> {
    if seconds <= 0.0 {
        return None;
    }
    let quotas = now.iter().zip(before).map(|(now, before)| Quota {
        // Each processor of the group counts its time by itself.
        share: (now.time.saturating_sub(before.time).as_secs_f64() / seconds).min(1.0),
        throttled: now.held_periods.saturating_sub(before.held_periods),
        periods: now.periods.saturating_sub(before.periods),
    });
    quotas
        .filter(|quota| quota.throttled > 0)
        .max_by(|a, b| a.share.total_cmp(&b.share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_group_that_was_held_back_longest_decides() {
        let at = |millis, held_periods, periods| Throttled {
            time: Duration::from_millis(millis),
            held_periods,
            periods,
        };
        let before = [at(100, 1, 10), at(0, 0, 10)];
        let now = [at(600, 11, 30), at(100, 2, 30)];
        let found = quota(&before, &now, 2.0).unwrap();
        assert!((found.share - 0.25).abs() < 1e-9);
        assert_eq!((found.throttled, found.periods), (10, 20));
        assert_eq!(quota(&now, &now, 2.0), None);
        assert_eq!(quota(&[], &[], 2.0), None);
    }

    #[test]
    fn this_machine_is_read() {
        let local = "127.0.0.1".parse().unwrap();
        let mut watched = Watched::start(Some((local, local)));
        watched.restart();
        let conditions = watched.until_now();
        let link = conditions.link.unwrap();
        assert_eq!((link.link.name.as_str(), link.link.speed), ("lo", None));
        assert!(Watched::start(None).until_now().link.is_none());
    }
}
