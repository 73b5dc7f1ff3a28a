//! The wait between a client's `TEST_END` and the last count, for data in flight that is part of the test.
//!
//! ```text
//! datagrams               may be slower than the control connection: a short wait, in every test
//! bytes of a finite test  a file, or the amount of -n and -k: the client's system knows that they were taken, but not
//!                         always by whom. The VMM that carries a vsock connection takes them before they arrive
//! bytes of a timed test   no wait: what is late is not part of it
//! ```

use std::time::{Duration, Instant};

use iperf_engine::{Measurement, Run};
use iperf_model::{TestConfig, Transport};
use tokio::time::sleep;

/// After the client has stopped, a server waits until no datagram has arrived for `SILENCE`, at most `LIMIT`.
const SILENCE: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_millis(200);

/// How long it waits for the missing bytes of a finite test while none arrive, and in all.
const BYTES_SILENCE: Duration = Duration::from_secs(1);
const BYTES_LIMIT: Duration = Duration::from_secs(4);
/// How often it checks.
const BYTES_PAUSE: Duration = Duration::from_millis(2);

/// Waits until what belongs to the test has arrived.
pub(crate) async fn settle(measurement: &mut Measurement, test: &TestConfig) {
    if !test.direction.client_sends() {
        return;
    }
    if test.transport == Transport::Udp {
        measurement.run().stop_senders();
        settle_datagrams(measurement.run()).await;
        return;
    }
    let by_amount = test.limit.is_amount();
    if by_amount || measurement.run().peer_is_finite() {
        settle_bytes(measurement.run()).await;
    }
}

async fn settle_datagrams(run: &mut Run) {
    let deadline = Instant::now() + LIMIT;
    let mut before = None;
    while Instant::now() < deadline {
        let received = Some(run.bytes().1);
        // The total of a client that announced it is certain.
        if run.has_received_all().unwrap_or(received == before) {
            break;
        }
        before = received;
        sleep(SILENCE).await;
    }
}

/// Only a client that announced its total has a known end.
async fn settle_bytes(run: &mut Run) {
    let start = Instant::now();
    let mut progress = (run.bytes().1, start);
    while run.has_received_all() == Some(false) {
        let (received, now) = (run.bytes().1, Instant::now());
        if received != progress.0 {
            progress = (received, now);
        }
        if now - progress.1 >= BYTES_SILENCE || now - start >= BYTES_LIMIT {
            break;
        }
        sleep(BYTES_PAUSE).await;
    }
}
