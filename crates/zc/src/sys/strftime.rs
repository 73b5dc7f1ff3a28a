//! Dates in a format of `strftime`, by the C library: with every conversion, flag and width that it has.

use std::ffi::{CString, c_char};

/// A time in a time zone, by its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CivilTime {
    /// Of the Christian era.
    pub year: i32,
    /// 1 to 12.
    pub month: i32,
    /// Of the month, from 1.
    pub day: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 60.
    pub second: i32,
    /// From Sunday, which is 0.
    pub weekday: i32,
    /// From 1.
    pub day_of_year: i32,
    /// Whether it is summer time.
    pub summer: bool,
    /// Seconds east of Greenwich.
    pub offset: i32,
    /// The abbreviation of the time zone.
    pub zone: String,
}

/// The longest text; a longer one is empty.
const LONGEST: usize = 64 * 1024;

/// The time in this format, in the C locale. Other text is copied; a format with a NUL ends there.
pub fn strftime(format: &str, time: &CivilTime) -> String {
    let until_nul = |text: &str, end: &str| {
        let text = text.split('\0').next().unwrap_or_default();
        CString::new(format!("{text}{end}")).unwrap_or_default()
    };
    // A blank at the end distinguishes an empty text from a buffer that is too small: strftime returns 0 for both.
    let format = until_nul(format, " ");
    let zone = until_nul(&time.zone, "");
    let broken_down = libc::tm {
        tm_sec: time.second,
        tm_min: time.minute,
        tm_hour: time.hour,
        tm_mday: time.day,
        tm_mon: time.month - 1,
        tm_year: time.year - 1900,
        tm_wday: time.weekday,
        tm_yday: time.day_of_year - 1,
        tm_isdst: i32::from(time.summer),
        tm_gmtoff: time.offset.into(),
        tm_zone: zone.as_ptr(),
    };
    let mut text = vec![0_u8; 256];
    loop {
        // SAFETY: `text` is writable for its length, `format` and the zone in `broken_down` end with a NUL, and all of
        // them live until the call returns. Numbers out of range give a text that makes no sense, and nothing else.
        let length = unsafe {
            libc::strftime(
                text.as_mut_ptr().cast::<c_char>(),
                text.len(),
                format.as_ptr(),
                &raw const broken_down,
            )
        };
        if length > 0 {
            text.truncate(length - 1);
            return String::from_utf8_lossy(&text).into_owned();
        }
        if text.len() >= LONGEST {
            return String::new();
        }
        text.resize(4 * text.len(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// 1795368831 in UTC.
    fn time() -> CivilTime {
        CivilTime {
            year: 2026,
            month: 11,
            day: 22,
            hour: 17,
            minute: 33,
            second: 51,
            weekday: 0,
            day_of_year: 326,
            summer: false,
            offset: 0,
            zone: "UTC".to_owned(),
        }
    }

    /// Every letter as date(1) has it, and what only the C library has.
    #[test]
    fn every_conversion_is_that_of_the_system() {
        for letter in "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%".chars() {
            let format = format!("<%{letter}>");
            let date = Command::new("date")
                .args(["--date=@1795368831", &format!("+{format}")])
                .envs([("TZ", "UTC"), ("LC_ALL", "C")])
                .output()
                .unwrap();
            let expected = String::from_utf8(date.stdout).unwrap();
            if letter != 's' {
                assert_eq!(strftime(&format, &time()) + "\n", expected, "{format}");
            }
        }
        // It counts from the time zone of the process.
        assert!(strftime("%s", &time()).parse::<i64>().is_ok());
        for (format, text) in [
            ("%Ec", "Sun Nov 22 17:33:51 2026"),
            ("%Ex %EX %EY %Ey %EC", "11/22/26 17:33:51 2026 26 20"),
            ("%Od %OH %OM %OS %Om %Oy", "22 17 33 51 11 26"),
            ("%OV %Ou %Ow %OU %OW", "47 7 0 47 46"),
            ("%_m %-m %^a %#Z %8Y", "11 11 SUN utc 00002026"),
            ("%!", "%!"),
        ] {
            assert_eq!(strftime(format, &time()), text, "{format}");
        }
    }

    #[test]
    fn the_zone_is_the_callers() {
        let east = CivilTime {
            offset: 19_800,
            zone: "IST".to_owned(),
            ..time()
        };
        assert_eq!(strftime("%z %Z", &east), "+0530 IST");
    }

    #[test]
    fn no_format_fails() {
        assert_eq!(strftime("", &time()), "");
        assert_eq!(strftime("%p%", &time()), "PM%");
        assert_eq!(strftime("a\0b", &time()), "a");
        assert_eq!(strftime("%3000Y", &time()).len(), 3000);
        assert_eq!(strftime("%99999999Y", &time()), "");
        let long = "\u{e9}".repeat(1000);
        assert_eq!(strftime(&long, &time()), long);
    }
}
