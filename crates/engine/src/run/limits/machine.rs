//! What this end's machine was short of: processors, CPU quota, the link.

use std::time::Duration;

use iperf_model::{Cause, Limitation};

use super::{Direction, LOSS, NOTEWORTHY, bits};
use crate::run::machine::Carried;

/// A thread that is busy for this share of the time is saturated.
const BUSY: f64 = 0.9;
/// A processor that handles packets for this share of the time, without what the hypervisor took, has none left for
/// threads.
const BUSY_WITH_PACKETS: f64 = 0.8;
/// From which part of the processors' time on a hypervisor is named.
const STOLEN: f64 = 0.05;
/// A link that carries this part of what it can is full.
const FULL: f64 = 0.95;
/// What carries more than its speed has another one.
const IMPOSSIBLE: f64 = 1.02;
/// Bytes of an Ethernet frame besides its packet, as interfaces count them; and checksum, preamble and gap (IEEE 802.3).
const HEADER: f64 = 14.0;
const UNCOUNTED: f64 = 24.0;

impl Direction<'_> {
    /// For which parts of the time the threads worked, and waited for a processor, in the mean.
    pub(super) fn threads(&self) -> Option<(f64, f64)> {
        let part = |time: Duration| time.as_secs_f64() / self.frame.running;
        let busy = self.mean(|stream| Some(part(stream.cpu)))?;
        let waited = self.mean(|stream| stream.waited.map(part));
        Some((busy, waited.unwrap_or(0.0)))
    }

    /// The part of the time in which the threads neither worked nor lacked a processor, at least: they may have been idle
    /// while the cgroup was throttled or the hypervisor took processors away.
    pub(super) fn unoccupied(&self) -> Option<f64> {
        let (busy, waited) = self.threads()?;
        let machine = &self.frame.machine;
        let throttled = machine.quota.as_ref().map_or(0.0, |quota| quota.share);
        let times = machine.processors.all;
        let stolen = times.share(times.stolen).unwrap_or(0.0);
        Some(1.0 - busy - waited - throttled - stolen)
    }

    fn cpu_cause(&self) -> Cause {
        if self.role.sends() {
            Cause::SenderCpu
        } else {
            Cause::ReceiverCpu
        }
    }

    fn busy_threads(&self, busy: f64, waited: f64) -> Limitation {
        let evidence = format!(
            "its thread worked {:.0} % of the time and waited {:.0} % for a processor{}",
            100.0 * busy.min(1.0),
            100.0 * waited.min(1.0),
            self.core().unwrap_or_default()
        );
        self.limit(self.cpu_cause(), busy + waited, evidence)
    }

    /// A thread that lacked a processor for a part of the time; this explains a test that nothing else does.
    pub(super) fn starved(&self) -> Option<Limitation> {
        let (busy, waited) = self.threads()?;
        (waited >= NOTEWORTHY).then(|| self.busy_threads(busy, waited))
    }

    pub(super) fn cpu(&self) -> Option<Limitation> {
        let (busy, waited) = self.threads()?;
        // A thread that its rate holds back waits little and works little.
        let is_busy = busy + waited >= BUSY && self.bitrate().is_none();
        if is_busy || waited >= 2.0 * NOTEWORTHY {
            return Some(self.busy_threads(busy, waited));
        }
        let each = self.frame.machine.processors.each.iter();
        let shares = each.filter_map(|(core, times)| {
            let share = times.without_stolen().share(times.interrupts)?;
            Some((core, share))
        });
        let (core, share) = shares.max_by(|a, b| a.1.total_cmp(&b.1))?;
        (share >= BUSY_WITH_PACKETS && self.bitrate().is_none()).then(|| {
            let evidence = format!(
                "its core {core} handled packets (softirq) {:.0} % of the time that it had",
                100.0 * share
            );
            self.limit(self.cpu_cause(), share, evidence)
        })
    }

    /// What the processor did on which the busiest thread ended.
    fn core(&self) -> Option<String> {
        let busiest = self.streams.iter().max_by_key(|stream| stream.cpu)?;
        let core = busiest.core?;
        let each = &self.frame.machine.processors.each;
        let (_, times) = each.iter().find(|(number, _)| *number == core)?;
        Some(format!(
            "; core {core} was idle {:.0} % and handled packets {:.0} %",
            100.0 * times.share(times.idle)?,
            100.0 * times.share(times.interrupts)?
        ))
    }

    pub(super) fn quota(&self) -> Option<Limitation> {
        let quota = self
            .frame
            .machine
            .quota
            .filter(|_| self.bitrate().is_none())?;
        (quota.share >= STOLEN).then(|| {
            let evidence = format!(
                "the {}'s cgroup was throttled {:.0} % of the time, in {} of {} periods: its cpu.max or cpu.cfs_quota_us",
                self.end(),
                100.0 * quota.share,
                quota.throttled,
                quota.periods
            );
            self.limit(Cause::Quota, quota.share, evidence)
        })
    }

    pub(super) fn steal(&self) -> Option<Limitation> {
        let times = self.frame.machine.processors.all;
        let share = times.share(times.stolen)?;
        (share >= STOLEN && self.bitrate().is_none()).then(|| {
            let evidence = format!(
                "the hypervisor gave {:.0} % of the processors' time to others than the {}",
                100.0 * share,
                self.end()
            );
            self.limit(Cause::Steal, share, evidence)
        })
    }

    pub(super) fn link(&self) -> Option<Limitation> {
        let Carried {
            link,
            seconds,
            sent,
            received,
        } = self.frame.machine.link.as_ref()?;
        let (speed, mtu) = (f64::from(link.speed?) * 1e6, f64::from(link.mtu?));
        let counters = if self.role.sends() { sent } else { received };
        let carried = counters.bytes as f64 * 8.0 / seconds;
        let most = speed * (mtu + HEADER) / (mtu + HEADER + UNCOUNTED);
        let share = carried / most;
        (share >= FULL && carried <= speed * IMPOSSIBLE).then(|| {
            let own: u64 = self.streams.iter().map(|stream| stream.bytes).sum();
            let own = bits(own as f64 * 8.0 / self.frame.seconds);
            let evidence = format!(
                "{own} of data, {} with headers: the most for the {}'s {} is {}, at {} and MTU {mtu}",
                bits(carried),
                self.end(),
                link.name,
                bits(most),
                bits(speed)
            );
            self.limit(Cause::Link, share, evidence)
        })
    }

    pub(super) fn interface_drops(&self) -> Option<Limitation> {
        let carried = self.frame.machine.link.as_ref()?;
        let (counters, what) = if self.role.sends() {
            (carried.sent, "had to send")
        } else {
            (carried.received, "received")
        };
        let all = counters.packets + counters.dropped;
        let share = counters.dropped as f64 / all.max(1) as f64;
        (share >= LOSS).then(|| {
            let evidence = format!(
                "the {}'s {} dropped {} packets, {:.2} % of those that it {what}",
                self.end(),
                carried.link.name,
                counters.dropped,
                100.0 * share
            );
            self.limit(Cause::InterfaceDrops, share, evidence)
        })
    }
}
