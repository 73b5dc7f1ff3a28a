//! What was measured beside a throughput test: latency under load, and one-way delays.

use iperf_report::document::End;

use super::exchange::{seconds, set_latency};
use crate::record::Record;

/// Adds the figures. `latency.*` is that of the loaded path.
pub(super) fn fill(record: &mut Record, end: &End) {
    if let Some(load) = &end.load {
        set_latency(record, "latency", &load.loaded.latency_us);
        let idle = &load.idle.latency_us;
        record.set("latency.idle", idle.p50.or(idle.mean).map(seconds));
        record.set("latency.increase", load.increase_us.map(seconds));
        record.set_other("probe", &format!("{}, {}/s", load.method, load.rate));
    }
    match end.one_way.as_slice() {
        [] => {}
        [way] => set_latency(record, "one_way", &way.delay_us),
        [way, ..] => {
            set_latency(record, "one_way", &way.delay_us);
            record.note(format!("one-way delays are those of the {}", way.direction));
        }
    }
}
