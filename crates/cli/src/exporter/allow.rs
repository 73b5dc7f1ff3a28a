//! Which targets may be probed.

use std::net::IpAddr;
use std::str::FromStr;

/// What an argument of `--allow` must be.
const MUST: &str = "must be a host, *.DOMAIN or a network such as 10.0.0.0/8; 0.0.0.0/0 and ::/0 are all addresses";

/// A target that is allowed, or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// This one, as it is written.
    Host(String),
    /// Hosts below a domain.
    Below(String),
    /// Addresses of a network.
    Network(IpAddr, u8),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(domain) = text.strip_prefix("*.") {
            return match domain {
                "" => Err(MUST.to_owned()),
                domain => Ok(Self::Below(format!(".{}", domain.to_lowercase()))),
            };
        }
        if let Some((address, length)) = text.split_once('/') {
            let address: Option<IpAddr> = address.parse().ok();
            let most = |address: &IpAddr| if address.is_ipv4() { 32 } else { 128 };
            let network = address.zip(length.parse::<u8>().ok());
            return network
                .filter(|(address, length)| *length <= most(address))
                .map(|(address, length)| Self::Network(address, length))
                .ok_or_else(|| MUST.to_owned());
        }
        if text.is_empty() || text.contains(|c: char| c == '*' || c.is_whitespace()) {
            return Err(MUST.to_owned());
        }
        Ok(Self::Host(text.to_lowercase()))
    }
}

impl Allowed {
    /// Whether it allows this target.
    pub(super) fn allows(&self, target: &str) -> bool {
        let target = target.to_lowercase();
        match self {
            Self::Host(host) => *host == target,
            Self::Below(domain) => target.ends_with(domain.as_str()),
            Self::Network(network, length) => target
                .parse()
                .is_ok_and(|address: IpAddr| contains(*network, *length, address.to_canonical())),
        }
    }
}

fn contains(network: IpAddr, length: u8, address: IpAddr) -> bool {
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (network.to_bits().into(), address.to_bits().into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let differing: u128 = network ^ address;
    let shift = width - u32::from(length);
    differing.checked_shr(shift).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_domains_and_networks_are_distinguished() {
        for (allowed, good, bad) in [
            ("host.example", "Host.example", "other.example"),
            ("*.example", "a.b.example", "example"),
            ("*.example", "a.example", "badexample"),
            ("10.1.0.0/16", "10.1.2.3", "10.2.0.1"),
            ("10.1.0.0/16", "::ffff:10.1.0.1", "host"),
            ("0.0.0.0/0", "192.0.2.1", "::1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("::/0", "::1", "10.0.0.1"),
            ("3", "3", "4"),
        ] {
            let rule: Allowed = allowed.parse().unwrap();
            assert!(rule.allows(good), "{allowed} {good}");
            assert!(!rule.allows(bad), "{allowed} {bad}");
        }
        for text in [
            "",
            "*",
            "*.",
            "a.*.b",
            "a b",
            "10.0.0.0/33",
            "x/8",
            "::/129",
        ] {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
    }
}
