//! The one-byte messages of the control connection.

use std::fmt;

/// A state byte. Unknown values are kept, so that an error can name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// 1, from the server: all data streams are open, clocks start.
    TestStart,
    /// 2, from the server: data may flow.
    TestRunning,
    /// 4, from the client: the test is over.
    TestEnd,
    /// 9, from the server: send the parameters.
    ParamExchange,
    /// 10, from the server: the parameters are accepted, open the data streams.
    CreateStreams,
    /// 11, from the server: a signal stopped it.
    ServerTerminate,
    /// 12, from the client: a signal stopped it.
    ClientTerminate,
    /// 13, from the server: send the results.
    ExchangeResults,
    /// 14, from the server: its results are sent, show them.
    DisplayResults,
    /// 16, from the client: the end of the session.
    IperfDone,
    /// 64, from a server of this program: what it grants of the extensions follows ([`crate::extensions`]).
    Extensions,
    /// −1, from the server: it runs another test.
    AccessDenied,
    /// −2, from the server: the test is refused or aborted; an error code and a system error number follow.
    ServerError,
    /// Anything else, the values that iperf3 reserves and never sends included.
    Unknown(i8),
}

impl State {
    /// Reads a byte off the wire.
    pub fn from_byte(byte: u8) -> Self {
        match byte.cast_signed() {
            1 => Self::TestStart,
            2 => Self::TestRunning,
            4 => Self::TestEnd,
            9 => Self::ParamExchange,
            10 => Self::CreateStreams,
            11 => Self::ServerTerminate,
            12 => Self::ClientTerminate,
            13 => Self::ExchangeResults,
            14 => Self::DisplayResults,
            16 => Self::IperfDone,
            64 => Self::Extensions,
            -1 => Self::AccessDenied,
            -2 => Self::ServerError,
            other => Self::Unknown(other),
        }
    }

    /// The byte for the wire.
    pub fn to_byte(self) -> u8 {
        self.entry().0.cast_unsigned()
    }

    /// The number, and the name in iperf3's source.
    fn entry(self) -> (i8, &'static str) {
        match self {
            Self::TestStart => (1, "TEST_START"),
            Self::TestRunning => (2, "TEST_RUNNING"),
            Self::TestEnd => (4, "TEST_END"),
            Self::ParamExchange => (9, "PARAM_EXCHANGE"),
            Self::CreateStreams => (10, "CREATE_STREAMS"),
            Self::ServerTerminate => (11, "SERVER_TERMINATE"),
            Self::ClientTerminate => (12, "CLIENT_TERMINATE"),
            Self::ExchangeResults => (13, "EXCHANGE_RESULTS"),
            Self::DisplayResults => (14, "DISPLAY_RESULTS"),
            Self::IperfDone => (16, "IPERF_DONE"),
            Self::Extensions => (64, "EXTENSIONS"),
            Self::AccessDenied => (-1, "ACCESS_DENIED"),
            Self::ServerError => (-2, "SERVER_ERROR"),
            Self::Unknown(value) => (value, "unknown state"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, name) = self.entry();
        write!(f, "{name} ({value})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_round_trip() {
        let known = (0..=255)
            .map(State::from_byte)
            .filter(|s| !matches!(s, State::Unknown(_)))
            .count();
        assert_eq!(known, 13);
        for byte in 0..=255 {
            assert_eq!(State::from_byte(byte).to_byte(), byte);
        }
    }

    #[test]
    fn the_display_names_the_byte() {
        assert_eq!(State::TestEnd.to_string(), "TEST_END (4)");
        assert_eq!(State::from_byte(0xfe).to_string(), "SERVER_ERROR (-2)");
        assert_eq!(State::from_byte(99).to_string(), "unknown state (99)");
    }

    #[test]
    fn reserved_states_are_unknown() {
        for byte in [0, 3, 5, 6, 7, 8, 15] {
            assert_eq!(
                State::from_byte(byte),
                State::Unknown(byte.try_into().unwrap())
            );
        }
    }
}
