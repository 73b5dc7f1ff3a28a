//! Whether a server serves: it runs a small test for a good client.

use std::thread;
use std::time::{Duration, Instant};

use crate::json;
use crate::pair::start_client;
use crate::peer::Peer;

/// A small good test: it ends when its bytes are sent (with a real client from 3.16 on, at the next second).
const GOOD: &str = "-J -n 256K";

/// Runs a small good test with the server on `port` within `limit`, and returns how long that took.
///
/// A server may be busy, or between two listening sockets; the client tries again as long as there is time. Any
/// other failure counts.
pub fn serves(port: u16, client: Peer, limit: Duration) -> Result<Duration, String> {
    let started = Instant::now();
    loop {
        let left = limit.saturating_sub(started.elapsed());
        let end = start_client(client, port, GOOD).finish(left);
        let document = serde_json::from_str(&end.stdout).unwrap_or_default();
        let error = json::text(&document, "/error");
        if end.succeeded() && error.is_none() {
            let sent = json::int(&document, "/end/sum_sent/bytes");
            if sent < Some(256 * 1024) {
                return Err(format!("the good test sent only {sent:?} bytes\n{end}"));
            }
            return Ok(started.elapsed());
        }
        let again = error.is_some_and(|text| {
            text.contains("busy running a test") || text.ends_with("Connection refused")
        });
        if !again || started.elapsed() > limit {
            return Err(format!(
                "no good test of {client} within {limit:?}; the last try:\n{end}"
            ));
        }
        thread::sleep(Duration::from_millis(50));
    }
}
