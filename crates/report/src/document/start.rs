//! The member `start`: the two ends and the test.

use iperf_model::Environment;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_with::skip_serializing_none;

/// The two ends and the test. Early failures omit most of it.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct Start {
    /// One element per stream, in order of creation.
    pub connected: Vec<Connection>,
    /// Name and version of the program, as `iperf 3.22`.
    pub version: String,
    /// The fields of `uname`, separated by blanks.
    pub system_info: String,
    /// When the parameters were known.
    pub timestamp: Option<Timestamp>,
    /// Client: the server as it was named on the command line.
    pub connecting_to: Option<HostPort>,
    /// Server: the address of the control connection.
    pub accepted_connection: Option<HostPort>,
    /// The 36 characters by which both ends name the test.
    pub cookie: Option<String>,
    /// TCP with `-M`: the requested segment size, in bytes.
    pub tcp_mss: Option<u64>,
    /// TCP without `-M`: the segment size of the control connection in bytes; 0 on a server.
    pub tcp_mss_default: Option<u64>,
    /// Requested rate, per stream, in bits per second; 0 for none.
    pub target_bitrate: Option<u64>,
    /// The kernel's pacing in bits per second; 0 for none. 3.13 and later.
    pub fq_rate: Option<u64>,
    /// Socket buffers requested with `-w`, in bytes; 0 for none.
    pub sock_bufsize: Option<u64>,
    /// The send buffer that the system gave, in bytes.
    pub sndbuf_actual: Option<u64>,
    /// The receive buffer that the system gave, in bytes.
    pub rcvbuf_actual: Option<u64>,
    /// **Own**: what carries the streams of a vsock test.
    pub vsock: Option<Vsock>,
    /// **Own**: the machine that this end runs on.
    pub environment: Option<Environment>,
    /// The parameters, once the test runs.
    pub test_start: Option<TestStart>,
}

/// The members that a TCP server prints early, and the one that they follow there.
const EARLY: [&str; 3] = ["sock_bufsize", "sndbuf_actual", "rcvbuf_actual"];
const BEFORE_EARLY: &str = "system_info";

impl Start {
    /// A server sets buffers up on its TCP listener, before it knows of a test, and iperf3 prints them then.
    fn has_early_buffers(&self) -> bool {
        let tcp = self.tcp_mss.is_some() || self.tcp_mss_default.is_some();
        self.accepted_connection.is_some() && tcp
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.has_early_buffers() {
            return Self::serialize(self, serializer);
        }
        let mut value = Self::serialize(self, serde_json::value::Serializer)
            .map_err(serde::ser::Error::custom)?;
        if let Value::Object(members) = &mut value {
            let before = members.keys().position(|key| key == BEFORE_EARLY);
            for (at, key) in (before.map_or(0, |at| at + 1)..).zip(EARLY) {
                if let Some(value) = members.shift_remove(key) {
                    members.shift_insert(at.min(members.len()), key.to_owned(), value);
                }
            }
        }
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// The two ends of one data stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// The local file descriptor, by which the rest of the document names the stream.
    pub socket: i64,
    /// Numeric address; a CID over vsock.
    pub local_host: String,
    /// Port of this end.
    pub local_port: u32,
    /// Numeric address; a CID over vsock.
    pub remote_host: String,
    /// Port of the peer.
    pub remote_port: u32,
}

/// One moment, three times.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timestamp {
    /// In the form of RFC 1123, in GMT.
    pub time: String,
    /// Unix seconds.
    pub timesecs: u64,
    /// Unix milliseconds. 3.20 and later.
    pub timemillisecs: Option<u64>,
}

/// A host and its port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostPort {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u32,
}

/// **Own**: what carries the streams of a vsock test, and the buffers of their sockets.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vsock {
    /// `vsock`, or `unix` for the socket of a VMM.
    pub carrier: String,
    /// The Unix socket.
    pub socket_file: Option<String>,
    /// `stream` or `seqpacket`.
    pub socket_type: String,
    /// Buffers requested with `-w`, in bytes; 0 for none.
    pub bufsize: Option<u64>,
    /// The send buffer that the socket kept, in bytes.
    pub sndbuf_actual: Option<u64>,
    /// The receive buffer that the socket kept, in bytes.
    pub rcvbuf_actual: Option<u64>,
}

/// The parameters of a test.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TestStart {
    /// `TCP`, `UDP`, `SCTP` or `VSOCK`.
    pub protocol: String,
    /// Streams per direction.
    pub num_streams: u64,
    /// Bytes per block.
    pub blksize: u64,
    /// Seconds that are left out at the beginning.
    pub omit: u64,
    /// Seconds; 0 with `-n` and `-k`.
    pub duration: u64,
    /// Bytes to send (`-n`); 0 for no such limit.
    pub bytes: u64,
    /// Blocks to send (`-k`); 0 for no such limit.
    pub blocks: u64,
    /// 1 if the server sends.
    pub reverse: u64,
    /// Type of service. Absent before 3.1.
    pub tos: Option<u64>,
    /// Requested rate, per stream, in bits per second; 0 for none. 3.11 and later.
    pub target_bitrate: Option<u64>,
    /// 1 if both ends send. 3.13 and later.
    pub bidir: Option<u64>,
    /// The kernel's pacing in bits per second; 0 for none. 3.13 and later.
    pub fqrate: Option<u64>,
    /// Seconds between reports; 0 for none before the end. 3.17 and later.
    pub interval: Option<f64>,
    /// 1 if datagrams go to the system many at once. 3.21 and later.
    pub gso: Option<u64>,
    /// 1 if datagrams come from the system many at once. 3.21 and later.
    pub gro: Option<u64>,
}
