//! The names of differentiated services code points.

use iperf_proto::Code;

use crate::error::ParameterError;
use crate::value::Value;

/// Names and the values of the six bits (RFC 2474, 2597, 3246, 5865; the last three are the older TOS bits, RFC 1349).
const NAMES: [(&str, u8); 25] = [
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("ef", 46),
    ("va", 44),
    ("lowdelay", 4),
    ("throughput", 2),
    ("reliability", 1),
];

/// The code point of a name in letters of either case.
pub(crate) fn code_point(name: &str) -> Option<u8> {
    let entry = NAMES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(entry.1)
}

/// Reads the name or the number of a code point.
pub(crate) fn parse(value: &Value<'_>) -> Result<u8, ParameterError> {
    match code_point(value.str()?) {
        Some(code_point) => Ok(code_point),
        None if value.is_c_integer() => value.c_integer(0..=63, Code::DSCP),
        // Here iperf3 rejects a number with trailing text.
        None => Err(Code::DSCP.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_octets_that_iperf3_sends() {
        // The type of service octet has the code point in its upper six bits.
        let octets = [
            ("af11", 40),
            ("af12", 48),
            ("af13", 56),
            ("af21", 72),
            ("af22", 80),
            ("af23", 88),
            ("af31", 104),
            ("af32", 112),
            ("af33", 120),
            ("af41", 136),
            ("af42", 144),
            ("af43", 152),
            ("cs0", 0),
            ("cs1", 32),
            ("cs2", 64),
            ("cs3", 96),
            ("cs4", 128),
            ("cs5", 160),
            ("cs6", 192),
            ("cs7", 224),
            ("EF", 184),
            ("Va", 176),
            ("lowdelay", 16),
            ("throughput", 8),
            ("reliability", 4),
        ];
        for (name, octet) in octets {
            assert_eq!(code_point(name), Some(octet >> 2), "{name}");
        }
        assert_eq!(octets.len(), NAMES.len());
        for name in ["le", "af14", "", "cs8", "ef "] {
            assert_eq!(code_point(name), None, "{name}");
        }
    }
}
