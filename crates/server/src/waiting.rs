//! Peers that a server waits for: a bounded table that always has room for a newcomer.
//!
//! ```text
//! accepted ──► cookie awaited ──► parameters awaited ──► data streams awaited ──► test
//!                  512                   512                    512
//! ```
//!
//! When a table is full, its newest entry replaces an old one, so that no number of silent or slow peers can lock
//! others out: the oldest from the network that holds the most entries is dropped. A good peer leaves a table after a
//! round trip, long before a flood has replaced all others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use iperf_model::SocketName;

/// How much of an IPv6 address names the network of one site, whose hosts can have any address in it.
const SITE_BITS: u32 = 64;

/// The origin of a connection: an IPv4 address, an IPv6 network, a CID, or a VMM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin(String);

impl Origin {
    /// The origin of a peer of this name.
    pub(crate) fn of(peer: &SocketName) -> Self {
        Self(match peer.host.parse() {
            Ok(IpAddr::V6(address)) => {
                let site = address.to_bits() & (u128::MAX << (128 - SITE_BITS));
                Ipv6Addr::from_bits(site).to_string()
            }
            _ => peer.host.clone(),
        })
    }
}

/// A bounded table, oldest entry first.
#[derive(Debug)]
pub(crate) struct Waiting<K, V> {
    capacity: usize,
    entries: Vec<Entry<K, V>>,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    origin: Origin,
    value: V,
}

impl<K: PartialEq, V> Waiting<K, V> {
    /// An empty table for `capacity` entries, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: Vec::new(),
        }
    }

    /// Whether no peer is waited for.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry. When there was no room, returns the value of the one that made way.
    pub(crate) fn insert(&mut self, key: K, origin: Origin, value: V) -> Option<V> {
        let displaced = if self.entries.len() >= self.capacity {
            let index = self.displaced_by(&origin);
            Some(self.entries.remove(index).value)
        } else {
            None
        };
        self.entries.push(Entry { key, origin, value });
        displaced
    }

    /// The value of an entry.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let entry = self.entries.iter().find(|entry| entry.key == *key);
        entry.map(|entry| &entry.value)
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<(Origin, V)> {
        let index = self.entries.iter().position(|entry| entry.key == *key)?;
        let entry = self.entries.remove(index);
        Some((entry.origin, entry.value))
    }

    /// Drops all entries.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Which entry makes way for a newcomer: the oldest of the origin that would hold the most entries. Among origins
    /// with equally many it is the oldest entry.
    fn displaced_by(&self, newcomer: &Origin) -> usize {
        let mut held = HashMap::from([(newcomer, 1_usize)]);
        for entry in &self.entries {
            *held.entry(&entry.origin).or_default() += 1;
        }
        let held_by = |entry: &Entry<K, V>| held.get(&entry.origin).copied().unwrap_or(0);
        let most = self.entries.iter().map(held_by).max().unwrap_or(0);
        let oldest = self.entries.iter().position(|entry| held_by(entry) == most);
        oldest.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(host: &str) -> Origin {
        let host = host.to_owned();
        Origin::of(&SocketName { host, port: 1 })
    }

    /// A full table of the numbers 0, 1, … from these hosts.
    fn full(hosts: &[&str]) -> Waiting<usize, usize> {
        let mut waiting = Waiting::new(hosts.len());
        for (number, host) in hosts.iter().enumerate() {
            assert_eq!(waiting.insert(number, from(host), number), None);
        }
        waiting
    }

    #[test]
    fn among_equals_the_oldest_is_displaced() {
        let mut waiting = full(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        assert_eq!(waiting.insert(3, from("10.0.0.4"), 3), Some(0));
        assert_eq!(waiting.insert(4, from("10.0.0.5"), 4), Some(1));
    }

    #[test]
    fn the_origin_with_the_most_connections_is_displaced() {
        let mut waiting = full(&["10.0.0.1", "10.0.0.9", "10.0.0.2", "10.0.0.9"]);
        assert_eq!(waiting.insert(4, from("10.0.0.3"), 4), Some(1));
        // Now a newcomer of the same origin displaces its own.
        assert_eq!(waiting.insert(5, from("10.0.0.9"), 5), Some(3));
        assert_eq!(waiting.get(&0), Some(&0));
    }

    #[test]
    fn a_flood_from_one_address_never_displaces_another() {
        let mut waiting = full(&["10.0.0.1"; 8]);
        waiting.insert(100, from("10.0.0.2"), 100);
        for number in 200..300 {
            assert!(waiting.insert(number, from("10.0.0.1"), number).is_some());
        }
        assert_eq!(waiting.get(&100), Some(&100));
    }

    #[test]
    fn a_flood_from_everywhere_displaces_in_permit() {
        let mut waiting = full(&["10.0.0.1"; 8]);
        waiting.insert(100, from("10.0.0.1"), 100);
        for number in 200..207 {
            waiting.insert(number, from(&format!("10.0.1.{}", number - 200)), number);
        }
        assert_eq!(waiting.get(&100), Some(&100), "seven others came since");
    }

    #[test]
    fn an_ipv6_network_is_one_origin() {
        assert_eq!(from("2001:db8::1"), from("2001:db8::2:0:0:1"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
        assert_ne!(from("10.0.0.1"), from("10.0.0.2"));
        assert_ne!(from("3"), from("/run/vm.sock"));
    }

    #[test]
    fn what_is_removed_leaves_room() {
        let mut waiting = full(&["10.0.0.1", "10.0.0.2"]);
        assert_eq!(waiting.remove(&0), Some((from("10.0.0.1"), 0)));
        assert_eq!(waiting.remove(&0), None);
        assert_eq!(waiting.insert(2, from("10.0.0.3"), 2), None);
        waiting.clear();
        assert_eq!(waiting.get(&2), None);
    }
}
