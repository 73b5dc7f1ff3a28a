//! Dates: the local time before lines of text, and the date of a test.

use std::time::{SystemTime, UNIX_EPOCH};

use iperf_zc::sys::strftime::{CivilTime, strftime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Writes the local time before lines (`--timestamps`).
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    format: Option<String>,
    now: fn() -> Zoned,
}

impl Stamp {
    /// Stamps in this `strftime` format, or none at all.
    pub(crate) fn new(format: Option<String>) -> Self {
        Self {
            format,
            now: Zoned::now,
        }
    }

    /// The same stamps by another clock.
    #[cfg(test)]
    pub(crate) fn with_clock(self, now: fn() -> Zoned) -> Self {
        Self { now, ..self }
    }

    /// What a line begins with that is written now.
    pub(crate) fn now(&self) -> String {
        self.format
            .as_ref()
            .map(|format| strftime(format, &civil(&(self.now)())))
            .unwrap_or_default()
    }
}

/// A moment as the C library has it.
fn civil(time: &Zoned) -> CivilTime {
    let zone = time.time_zone().to_offset_info(time.timestamp());
    CivilTime {
        year: time.year().into(),
        month: time.month().into(),
        day: time.day().into(),
        hour: time.hour().into(),
        minute: time.minute().into(),
        second: time.second().into(),
        weekday: time.weekday().to_sunday_zero_offset().into(),
        day_of_year: time.day_of_year().into(),
        summer: zone.dst().is_dst(),
        offset: zone.offset().seconds(),
        zone: zone.abbreviation().to_owned(),
    }
}

/// A date in the form of RFC 1123, in GMT.
pub(crate) fn rfc1123(at: SystemTime) -> String {
    let time = Timestamp::try_from(at)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned(TimeZone::UTC);
    strftime("%a, %d %b %Y %H:%M:%S GMT", &civil(&time))
}

/// Milliseconds since 1970.
pub(crate) fn unix_milliseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_795_368_831_761)
    }

    fn fixed() -> Zoned {
        "2026-11-05T07:08:09+01:00[+01:00]".parse().unwrap()
    }

    #[test]
    fn the_date_of_a_test() {
        assert_eq!(rfc1123(at()), "Sun, 22 Nov 2026 17:33:51 GMT");
        assert_eq!(unix_milliseconds(at()), 1_795_368_831_761);
    }

    #[test]
    fn stamps_follow_their_format() {
        for (format, text) in [
            ("%c ", "Thu Nov  5 07:08:09 2026 "),
            ("%H:%M:%S ", "07:08:09 "),
            ("%F %T%z|", "2026-11-05 07:08:09+0100|"),
            ("%D %x %X ", "11/05/26 11/05/26 07:08:09 "),
            (
                "%Ex %OH %P %r %_d %^a %U %e %G ",
                "11/05/26 07 am 07:08:09 AM  5 THU 44  5 2026 ",
            ),
            ("plain 100%% ", "plain 100% "),
            ("", ""),
        ] {
            let stamp = Stamp::new(Some(format.to_owned())).with_clock(fixed);
            assert_eq!(stamp.now(), text);
        }
        assert_eq!(Stamp::new(None).now(), "");
    }

    #[test]
    fn no_format_makes_a_stamp_fail() {
        for format in ["%", "%!", "%Q %", "a%999", "\u{e9}%"] {
            let stamp = Stamp::new(Some(format.to_owned())).with_clock(fixed);
            assert!(!stamp.now().contains('\n'), "{format}");
        }
    }
}
