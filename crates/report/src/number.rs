//! Floating-point numbers as C prints them, because iperf3's output is C's.

/// `%.{digits}g`: the shorter of decimal and scientific notation, without trailing zeros.
pub(crate) fn general(value: f64, digits: usize) -> String {
    let digits = digits.max(1);
    if !value.is_finite() {
        return value.to_string().to_lowercase();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let last = i32::try_from(digits).unwrap_or(i32::MAX) - 1;
    if exponent < -4 || exponent > last {
        let sign = if exponent < 0 { '-' } else { '+' };
        let mantissa = without_trailing_zeros(mantissa);
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let decimals = usize::try_from(last - exponent).unwrap_or(0);
    without_trailing_zeros(&format!("{value:.decimals$}")).to_owned()
}

/// A JSON number: 15 significant digits if they mean the same number to within one relative
/// [`f64::EPSILON`], otherwise 17. Must not be called for NaN or infinity, which JSON writes as `null`.
pub(crate) fn json(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let short = general(value, 15);
    let near = short.parse().is_ok_and(|back: f64| {
        back.is_finite() && (back - value).abs() <= back.abs().max(value.abs()) * f64::EPSILON
    });
    if near { short } else { general(value, 17) }
}

fn without_trailing_zeros(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_have_two_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (0.05, "0.05"),
            (0.000_012, "1.2e-05"),
            (9.96, "10"),
            (38.459, "38"),
            (99.4, "99"),
            (99.6, "1e+02"),
            (100.0, "1e+02"),
            (-3.2, "-3.2"),
            (-250.0, "-2.5e+02"),
        ] {
            assert_eq!(general(value, 2), text);
        }
    }

    #[test]
    fn json_floats_use_as_few_digits_as_needed() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (0.1, "0.1"),
            (3.5e-5, "3.5e-05"),
            (1e-10, "1e-10"),
            (1.000_088, "1.000088"),
            (f64::from(1.000_088_f32), "1.0000879764556885"),
            (17_964_930_433.319_64, "17964930433.319641"),
            (4_498_128_896.0, "4498128896"),
            (1e15, "1e+15"),
            (1_234_567_890_123_456.0, "1234567890123456"),
            (1.5e300, "1.5e+300"),
            // With 15 digits it would be beyond what a double can be.
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(json(value), text);
        }
    }

    #[test]
    fn one_epsilon_of_error_is_accepted_for_fewer_digits() {
        // 0.3 with the last bit changed: 15 digits give 0.3, which is close enough.
        let value: f64 = 0.1 + 0.2;
        assert_eq!(value.to_bits(), 0.3_f64.next_up().to_bits());
        assert_eq!(json(value), "0.3");
        assert_eq!(json(value.next_up()), "0.3000000000000001");
    }

    #[test]
    fn what_is_no_number_has_a_name() {
        assert_eq!(general(f64::NAN, 2), "nan");
        assert_eq!(general(f64::INFINITY, 2), "inf");
    }
}
