//! Amounts and rates in four characters and a unit.

/// Which unit an amount is shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The largest unit of bits (powers of 1000) that leaves a number of at least 1.
    Bits,
    /// The largest unit of bytes (powers of 1024) that leaves a number of at least 1.
    Bytes,
    /// Bits times this power of 1000.
    FixedBits(usize),
    /// Bytes times this power of 1024.
    FixedBytes(usize),
}

impl Unit {
    /// The unit that `-f` names; adaptive bits without it.
    pub(crate) fn of_rate(letter: Option<char>) -> Self {
        let Some(letter) = letter else {
            return Self::Bits;
        };
        let power = match letter.to_ascii_lowercase() {
            'k' => 1,
            'm' => 2,
            'g' => 3,
            't' => 4,
            _ => return Self::Bits,
        };
        if letter.is_ascii_uppercase() {
            Self::FixedBytes(power)
        } else {
            Self::FixedBits(power)
        }
    }
}

const BITS: [&str; 5] = ["bit", "Kbit", "Mbit", "Gbit", "Tbit"];
const BYTES: [&str; 5] = ["Byte", "KByte", "MByte", "GByte", "TByte"];

/// An amount of bytes (or bytes per second) as a number of at least four characters and a unit in the singular.
pub(crate) fn scaled(bytes: f64, unit: Unit) -> String {
    let (value, base, names) = match unit {
        Unit::Bits | Unit::FixedBits(_) => (bytes * 8.0, 1000.0, BITS),
        Unit::Bytes | Unit::FixedBytes(_) => (bytes, 1024.0, BYTES),
    };
    let mut scaled = value;
    let mut power = 0;
    let fixed = match unit {
        Unit::FixedBits(fixed) | Unit::FixedBytes(fixed) => Some(fixed),
        Unit::Bits | Unit::Bytes => None,
    };
    while power + 1 < names.len() && fixed.map_or(scaled >= base, |fixed| power < fixed) {
        scaled /= base;
        power += 1;
    }
    let decimals = match scaled {
        s if s < 9.995 => 2,
        s if s < 99.95 => 1,
        _ => 0,
    };
    format!("{scaled:4.decimals$} {}", names[power])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGA: f64 = 1024.0 * 1024.0;

    #[test]
    fn adaptive_bytes_climb_by_1024() {
        for (bytes, text) in [
            (0.0, "0.00 Byte"),
            (1.0, "1.00 Byte"),
            (999.0, " 999 Byte"),
            (1023.0, "1023 Byte"),
            (1024.0, "1.00 KByte"),
            (128.0 * 1024.0, " 128 KByte"),
            (2.5 * MEGA, "2.50 MByte"),
            (1023.6 * MEGA, "1024 MByte"),
            (1024.0 * MEGA, "1.00 GByte"),
            (5000.0 * 1024.0 * 1024.0 * MEGA, "5000 TByte"),
        ] {
            assert_eq!(scaled(bytes, Unit::Bytes), text);
        }
    }

    #[test]
    fn adaptive_bits_climb_by_1000() {
        for (bits, text) in [
            (0.0, "0.00 bit"),
            (8.0, "8.00 bit"),
            (999.0, " 999 bit"),
            (1000.0, "1.00 Kbit"),
            (999_900.0, "1000 Kbit"),
            (20_940_000.0, "20.9 Mbit"),
            (1e12, "1.00 Tbit"),
            (2.5e16, "25000 Tbit"),
        ] {
            assert_eq!(scaled(bits / 8.0, Unit::Bits), text);
        }
    }

    #[test]
    fn decimals_change_where_the_rounded_number_would_grow() {
        for (bits, text) in [
            (9.994, "9.99 bit"),
            (9.995, "10.0 bit"),
            (99.94, "99.9 bit"),
            (99.95, " 100 bit"),
        ] {
            assert_eq!(scaled(bits / 8.0, Unit::Bits), text);
        }
    }

    #[test]
    fn letters_fix_the_unit() {
        let rate = 2_617_500.0;
        for (letter, text) in [
            ('k', "20940 Kbit"),
            ('m', "20.9 Mbit"),
            ('g', "0.02 Gbit"),
            ('t', "0.00 Tbit"),
            ('K', "2556 KByte"),
            ('M', "2.50 MByte"),
            ('G', "0.00 GByte"),
            ('T', "0.00 TByte"),
            ('x', "20.9 Mbit"),
        ] {
            assert_eq!(scaled(rate, Unit::of_rate(Some(letter))), text);
        }
        assert_eq!(Unit::of_rate(None), Unit::Bits);
    }
}
