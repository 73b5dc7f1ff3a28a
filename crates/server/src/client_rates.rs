//! What each client has moved, for `--client-bitrate-limit`. A client that has moved nothing for a window is forgotten.

use std::collections::HashMap;
use std::time::Instant;

use iperf_model::RateLimit;

use crate::rate_watch::SharedRateWatch;
use crate::waiting::Origin;

/// A watch for each client that runs tests, or ran some within the window.
#[derive(Debug)]
pub(crate) struct ClientRates {
    limit: Option<RateLimit>,
    watches: HashMap<Origin, SharedRateWatch>,
}

impl ClientRates {
    /// No client yet.
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        Self {
            limit,
            watches: HashMap::new(),
        }
    }

    /// The watch of a client, if there is a limit.
    pub(crate) fn of(&mut self, client: &Origin, now: Instant) -> Option<SharedRateWatch> {
        let limit = self.limit?;
        self.watches.retain(|_, watch| !watch.look().is_idle(now));
        let watch = self
            .watches
            .entry(client.clone())
            .or_insert_with(|| SharedRateWatch::new(limit, now));
        Some(watch.clone())
    }
}

#[cfg(test)]
mod tests {
    use iperf_model::BitRate;

    use super::*;
    use iperf_model::SocketName;
    use std::time::Duration;

    fn client(host: &str) -> Origin {
        let host = host.to_owned();
        Origin::of(&SocketName { host, port: 1 })
    }

    #[test]
    fn clients_have_limits_of_their_own_and_are_forgotten_in_the_end() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let limit = RateLimit {
            rate: BitRate::new(8000),
            window: second,
        };
        let mut rates = ClientRates::new(Some(limit));
        let mut greedy = rates.of(&client("10.0.0.1"), start).unwrap().begin(start);
        assert!(greedy.exceeded(start + second / 2, 1001));
        let mut modest = rates.of(&client("10.0.0.2"), start).unwrap().begin(start);
        assert!(!modest.exceeded(start + second / 2, 1000));
        let again = rates.of(&client("10.0.0.1"), start + second / 2).unwrap();
        assert!(again.look().used_up(start + second / 2));
        drop((greedy, modest, again));
        rates.of(&client("10.0.0.3"), start + 2 * second);
        assert_eq!(rates.watches.len(), 1);
        assert!(
            ClientRates::new(None)
                .of(&client("10.0.0.1"), start)
                .is_none()
        );
    }
}
