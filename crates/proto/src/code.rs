//! iperf3's error codes: what `SERVER_ERROR` carries, and the texts by which users and parsers know them.

use std::fmt;
use std::io;

use iperf_model::reason;

/// An iperf3 error code. Codes of other versions and programs are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub i32);

/// Whether a system error explains a code further.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The text is complete.
    Own,
    /// The operating system refused something, and its reason is appended to the text.
    System,
}

use Cause::{Own, System};

macro_rules! codes {
    ($($name:ident = $value:literal, $cause:ident, $text:literal;)*) => {
        impl Code {
            $(#[doc = concat!($value, ": `", $text, "`")] pub const $name: Self = Self($value);)*

            fn lookup(self) -> Option<(Cause, &'static str)> {
                match self.0 {
                    $($value => Some(($cause, $text)),)*
                    _ => None,
                }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

codes! {
    NONE = 0, Own, "no error";
    BOTH_ROLES = 1, Own, "cannot be both server and client";
    NO_ROLE = 2, Own, "must either be a client (-c) or server (-s)";
    SERVER_ONLY = 3, Own, "some option you are trying to set is server only";
    CLIENT_ONLY = 4, Own, "some option you are trying to set is client only";
    DURATION = 5, Own, "test duration valid values are 0 to 86400 seconds";
    STREAMS = 6, Own, "invalid number of parallel streams (min = 1, max = 128)";
    BLOCK_SIZE = 7, Own, "block size too large (maximum = 1048576 bytes)";
    BUFFER_SIZE = 8, Own, "socket buffer size too large (maximum = 536870912 bytes)";
    INTERVAL = 9, Own, "invalid report interval (min = 0.1, max = 60 seconds)";
    MSS = 10, Own, "TCP MSS too large (maximum = 32767 bytes)";
    NO_SENDFILE = 11, Own, "sendfile is not available on this system";
    OMIT = 12, Own, "bogus value for --omit (maximum = 600 seconds)";
    NOT_IMPLEMENTED = 13, Own, "the option is not implemented";
    FILE = 14, System, "unable to open the file of -F";
    BURST = 15, Own, "invalid burst count (maximum = 1000)";
    END_CONDITIONS = 16, Own, "only one test end condition (-t, -n, -k) may be specified";
    LOG_FILE = 17, System, "unable to open log file";
    NO_SCTP = 18, Own, "SCTP is not available on this system (kernel module sctp)";
    UDP_BLOCK_SIZE = 20, Own, "block size invalid (minimum = 16 bytes, maximum = 65507 bytes)";
    TOS = 21, Own, "bad TOS value (must be between 0 and 255 inclusive)";
    CLIENT_AUTH = 22, Own, "you must specify a username, password, and path to a valid RSA public key";
    SERVER_AUTH = 23, Own, "you must specify a path to a valid RSA private key and a user credential file";
    FORMAT = 24, Own, "bad format specifier (valid formats are in the set [kmgtKMGT])";
    REVERSE_BIDIR = 25, Own, "cannot be both reverse and bidirectional";
    PORT = 26, Own, "port number must be between 1 and 65535 inclusive";
    TOTAL_RATE = 27, Own, "total required bandwidth is larger than server limit";
    RATE_INTERVAL = 28, Own, "invalid time interval for calculating average data rate";
    SKEW_THRESHOLD = 29, Own, "skew threshold must be a positive number";
    IDLE_TIMEOUT = 30, Own, "idle timeout parameter is not positive or larger than allowed limit";
    RCV_TIMEOUT = 31, System, "receive timeout value is incorrect or not in range";
    RCV_TIMEOUT_SENDER = 32, System, "client receive timeout is valid only in receiving mode";
    SND_TIMEOUT = 33, System, "send timeout value is incorrect or not in range";
    UDP_FILE = 34, Own, "cannot transfer file using UDP";
    USERS_FILE = 35, System, "cannot access authorized users file";
    KEEPALIVE = 36, System, "control connection Keepalive period should be larger than the full retry period (interval * count)";
    MAX_DURATION = 37, Own, "client's requested duration exceeds the server's maximum permitted limit";
    UNIT = 38, Own, "invalid unit value or suffix";
    NO_SKIP_RX_COPY = 39, Own, "received data can't be skipped on this system";
    DSCP = 40, Own, "bad DSCP value (numeric: 0-63 inclusive, symbolic: one of [af11-13, af21-23, af31-33, af41-43, cs1-7, ef, va, lowdelay, throughput, reliability])";
    NEW_TEST = 100, System, "unable to create a test";
    INIT_TEST = 101, System, "unable to initialize the test";
    LISTEN = 102, System, "unable to start listener for connections";
    CONNECT = 103, System, "unable to connect to server - server may have stopped running or use a different port, firewall issue, etc.";
    ACCEPT = 104, System, "unable to accept connection from client";
    SEND_COOKIE = 105, System, "unable to send the cookie";
    RECV_COOKIE = 106, System, "unable to receive the cookie";
    CONTROL_WRITE = 107, System, "unable to write to the control socket";
    CONTROL_READ = 108, System, "unable to read from the control socket";
    CONTROL_CLOSED = 109, Own, "control socket has closed unexpectedly";
    UNKNOWN_MESSAGE = 110, Own, "received an unknown control message (ensure other side is iperf3 and not iperf)";
    SEND_MESSAGE = 111, System, "unable to send control message";
    RECV_MESSAGE = 112, System, "unable to receive control message";
    SEND_PARAMS = 113, System, "unable to send parameters";
    RECV_PARAMS = 114, System, "unable to receive parameters from client";
    PACK_RESULTS = 115, System, "unable to put the results together";
    SEND_RESULTS = 116, System, "unable to send results";
    RECV_RESULTS = 117, System, "unable to receive results";
    SELECT = 118, System, "waiting for sockets failed";
    CLIENT_TERMINATED = 119, Own, "the client has terminated";
    SERVER_TERMINATED = 120, Own, "the server has terminated";
    BUSY = 121, Own, "the server is busy running a test. try again later";
    SET_NODELAY = 122, System, "unable to set TCP/SCTP NODELAY";
    SET_MSS = 123, System, "unable to set TCP/SCTP MSS";
    SET_BUFFER = 124, System, "unable to set socket buffer size";
    SET_TOS = 125, System, "unable to set IP TOS";
    SET_TRAFFIC_CLASS = 126, System, "unable to set IPv6 traffic class";
    FLOW_LABEL = 127, Own, "unable to set IPv6 flow label";
    REUSE_ADDRESS = 128, System, "unable to share the address of a socket";
    NON_BLOCKING = 129, System, "unable to make a socket non-blocking";
    SET_WINDOW = 130, System, "unable to set socket window size";
    PROTOCOL = 131, Own, "protocol does not exist";
    AFFINITY = 132, System, "unable to set CPU affinity";
    DAEMON = 133, System, "unable to become a daemon";
    CONGESTION = 134, System, "unable to set TCP_CONGESTION: Supplied congestion control algorithm not supported on this host";
    PID_FILE = 135, System, "unable to write PID file";
    V6_ONLY = 136, System, "unable to set IPV6_V6ONLY";
    SCTP_FRAGMENTS = 137, System, "unable to set SCTP fragmentation";
    SCTP_STREAMS = 138, System, "unable to set the number of SCTP streams";
    SCTP_BIND = 139, System, "unable to bind SCTP to several addresses";
    PACING = 140, System, "unable to set socket pacing";
    BUFFER_NOT_KEPT = 141, Own, "socket buffer size not set correctly";
    AUTHORIZATION = 142, Own, "test authorization failed";
    BIND_DEVICE = 143, System, "unable to bind to the device";
    NO_DATA = 144, Own, "idle timeout for receiving data";
    DONT_FRAGMENT = 145, System, "unable to forbid fragmentation";
    NO_BIND_DEVICE = 146, Own, "binding to a device is not available on this system";
    HOST_DEVICE = 147, Own, "a device after the host name is only for link-local addresses on this system";
    USER_TIMEOUT = 148, System, "unable to set TCP USER_TIMEOUT";
    THREAD_CREATE = 150, System, "unable to create a thread";
    THREAD_CANCEL = 151, System, "unable to cancel a thread";
    THREAD_JOIN = 152, System, "unable to join a thread";
    THREAD_ATTR_INIT = 153, System, "unable to create thread attributes";
    THREAD_ATTR_DESTROY = 154, System, "unable to destroy thread attributes";
    SET_KEEPALIVE = 155, System, "unable to turn on keepalive for the control connection";
    SET_KEEPALIVE_IDLE = 156, System, "unable to set the keepalive idle time of the control connection";
    SET_KEEPALIVE_INTERVAL = 157, System, "unable to set the keepalive interval of the control connection";
    SET_KEEPALIVE_COUNT = 158, System, "unable to set the keepalive count of the control connection";
    SIGNAL_MASK = 159, System, "unable to change the signal mask";
    SERVER_TIME_LIMIT = 160, Own, "the test ran into the server's time limit";
    CREATE_STREAM = 200, System, "unable to create a new stream";
    INIT_STREAM = 201, System, "unable to initialize stream";
    STREAM_LISTEN = 202, System, "unable to start stream listener";
    STREAM_CONNECT = 203, System, "unable to connect stream";
    STREAM_ACCEPT = 204, System, "unable to accept stream connection";
    STREAM_WRITE = 205, System, "unable to write to stream socket";
    STREAM_READ = 206, System, "unable to read from stream socket";
    STREAM_CLOSE = 207, System, "unable to close stream socket";
    STREAM_ID = 208, Own, "stream has an invalid id";
    NEW_TIMER = 300, System, "unable to create a timer";
    UPDATE_TIMER = 301, System, "unable to update a timer";
}

impl Code {
    /// The message, as iperf3 prints it after `error - `; for a code without a message, that it is unknown.
    pub fn text(self) -> &'static str {
        self.lookup().map_or("unknown error", |(_, text)| text)
    }

    /// The message, with the system's reason appended if the code is about something that the system refused.
    /// No reason is known when `errno` is 0.
    pub fn with_errno(self, errno: i32) -> String {
        let explains = self.lookup().is_none_or(|(cause, _)| cause == System);
        if errno == 0 || !explains {
            return self.to_string();
        }
        format!("{self}: {}", system_message(errno))
    }
}

impl Code {
    /// The message with an operation's error appended, in the words of `strerror` or of the resolver.
    pub fn with_error(self, error: &io::Error) -> String {
        if let Some(errno) = error.raw_os_error() {
            return self.with_errno(errno);
        }
        format!("{self}: {}", reason(error))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lookup() {
            Some((_, text)) => f.write_str(text),
            None => write!(f, "unknown error {}", self.0),
        }
    }
}

/// The system's text for an error number. The number may come from a peer, so only numbers that a kernel can return are
/// looked up (Linux: `MAX_ERRNO`, include/linux/err.h).
fn system_message(errno: i32) -> String {
    if !(1..=4095).contains(&errno) {
        return format!("Unknown error {errno}");
    }
    reason(&io::Error::from_raw_os_error(errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_code_has_one_text_of_its_own() {
        let texts: HashSet<&str> = Code::ALL.iter().map(|c| c.text()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(
            texts
                .iter()
                .all(|t| !t.is_empty() && !t.ends_with([' ', ':']))
        );
    }

    #[test]
    fn the_system_explains_only_what_it_refused() {
        assert_eq!(
            Code::STREAM_ACCEPT.with_errno(22),
            "unable to accept stream connection: Invalid argument"
        );
        assert_eq!(
            Code::RECV_PARAMS.with_errno(0),
            "unable to receive parameters from client"
        );
        assert_eq!(
            Code::TOTAL_RATE.with_errno(22),
            "total required bandwidth is larger than server limit"
        );
    }

    #[test]
    fn numbers_from_a_peer_are_only_printed() {
        assert_eq!(Code(-7).text(), "unknown error");
        assert_eq!(Code(-7).with_errno(0), "unknown error -7");
        assert_eq!(
            Code(999).with_errno(i32::MIN),
            "unknown error 999: Unknown error -2147483648"
        );
        assert!(Code::LISTEN.with_errno(4095).contains("4095"));
    }
}
