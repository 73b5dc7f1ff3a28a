//! The name of a test: 36 characters and a NUL, sent first on the control connection and again on each data stream.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::shown;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The 37 bytes that identify the connections of one test.
///
/// Two cookies are equal when their bytes up to the first NUL are: that is all that servers compare. The alphabet
/// of a peer's cookie is not checked, as servers never did.
#[derive(Clone)]
pub struct Cookie([u8; Cookie::LEN]);

impl Cookie {
    /// Bytes on the wire.
    pub const LEN: usize = 37;

    /// Makes a cookie out of random bytes. Each is reduced modulo 32, so uniform bytes give uniform characters.
    pub fn from_random(random: [u8; 36]) -> Self {
        let mut bytes = [0; Self::LEN];
        for (byte, random) in bytes.iter_mut().zip(random) {
            *byte = ALPHABET[usize::from(random) % ALPHABET.len()];
        }
        Self(bytes)
    }

    /// The cookie that a peer sent.
    pub fn from_wire(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes as they go over the wire.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    fn text(&self) -> &[u8] {
        let end = self.0.iter().position(|&b| b == 0);
        &self.0[..end.unwrap_or(Self::LEN)]
    }
}

impl PartialEq for Cookie {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Cookie {}

impl Hash for Cookie {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown::line(&String::from_utf8_lossy(self.text())))
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({:?})", String::from_utf8_lossy(self.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn random_bytes_become_the_alphabet_and_a_nul() {
        let mut random = [0; 36];
        for (i, byte) in (0..).zip(&mut random) {
            *byte = i;
        }
        let cookie = Cookie::from_random(random);
        assert_eq!(cookie.to_string(), "abcdefghijklmnopqrstuvwxyz234567abcd");
        assert_eq!(cookie.as_bytes()[36], 0);
        assert_eq!(Cookie::from_random([255; 36]).to_string(), "7".repeat(36));
    }

    #[test]
    fn comparison_stops_at_the_first_nul() {
        let mut one = [b'x'; 37];
        one[5] = 0;
        let mut two = one;
        two[20] = b'y';
        let (one, two) = (Cookie::from_wire(one), Cookie::from_wire(two));
        assert_eq!(one, two);
        assert_eq!(HashSet::from([one.clone(), two]).len(), 1);
        assert_ne!(one, Cookie::from_wire([b'x'; 37]));
    }

    #[test]
    fn any_37_bytes_are_a_cookie() {
        let request = *b"GET / HTTP/1.1\r\nHost: somewhere.test\r\n";
        let cookie = Cookie::from_wire(request[..37].try_into().unwrap());
        assert!(cookie.to_string().starts_with("GET / HTTP/1.1"));
        assert_eq!(
            Cookie::from_wire([0xff; 37]).to_string().chars().count(),
            37
        );
        assert_eq!(format!("{:?}", Cookie::from_wire([0; 37])), "Cookie(\"\")");
    }
}
