//! The results: what one end counted, sent to the other after the test. The client sends first.

use std::borrow::Cow;
use std::sync::Arc;

use iperf_model::{
    CopyReport, CpuUsage, Detail, ExchangeCounts, Latencies, Limitation, RemoteEnvironment, Role,
    RunTotals, ServerOutput, StreamOutcome, TestConfig, ZeroCopy,
};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Number, Value};
use serde_with::{SerializeAs, serde_as, skip_serializing_none};

use crate::json::{Fields, text, wire_number};
use crate::{ParseError, environment, exchange, limits, shown, zerocopy_report};

/// What one end counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// CPU time of the process.
    pub cpu: CpuUsage,
    /// −1: this end only receives. 0: it sends and does not count retransmits. 1: it sends and counts them.
    pub sender_has_retransmits: i64,
    /// Congestion control of the last data socket, for TCP.
    pub congestion_used: Option<String>,
    /// What a server printed, for a client that requested it.
    pub server_output: Option<ServerOutput>,
    /// Datagrams with a bad checksum in this end's network namespace, if it receives datagrams. Our own key.
    pub checksum_errors: Option<u64>,
    /// The machine of this end. Our own key, for a peer of this program.
    pub environment: Option<RemoteEnvironment>,
    /// What a requester counted over all streams. Our own key, in request/response tests.
    pub exchanges: Option<ExchangeCounts>,
    /// What limited the test, as far as this end knows. Our own key, for a peer of this program.
    pub limits: Vec<Limitation>,
    /// The delays of the datagrams that this end received. Our own key.
    pub one_way: Option<Arc<Latencies>>,
    /// The streams in their order of creation.
    pub streams: Vec<StreamResult>,
}

/// What one end counted on one stream, in the order of the wire.
#[serde_as]
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StreamResult {
    /// The stream's id, see [`crate::stream_id()`].
    pub id: i64,
    /// Bytes sent or received, without the omitted period.
    pub bytes: u64,
    /// Segments, without the omitted period; −1 if they are not counted.
    pub retransmits: i64,
    /// Smoothed jitter in **seconds**.
    #[serde_as(as = "WireNumber")]
    pub jitter: f64,
    /// Datagrams lost, with the omitted period.
    pub errors: i64,
    /// Datagrams lost in the omitted period; peers before 3.14 do not report it.
    pub omitted_errors: Option<i64>,
    /// Datagrams sent or the highest sequence number, with the omitted period.
    pub packets: i64,
    /// `packets` at the end of the omitted period; peers before 3.14 do not report it.
    pub omitted_packets: Option<i64>,
    /// Seconds; 0 from every real peer.
    #[serde_as(as = "Option<WireNumber>")]
    pub start_time: Option<f64>,
    /// Seconds from the local start, or the end of the omitted period, to the local end.
    #[serde_as(as = "Option<WireNumber>")]
    pub end_time: Option<f64>,
    /// Datagrams dropped because the receiver's socket was full. Our own key.
    pub socket_drops: Option<i64>,
    /// Datagrams that arrived late or twice. Our own key.
    pub out_of_order: Option<i64>,
    /// Datagrams that had arrived before. Our own key.
    pub duplicates: Option<i64>,
    /// What a requester exchanged. Our own key, only in request/response tests.
    pub transactions: Option<i64>,
    /// How the bytes were moved. Our own key, only in tests that request zero-copy.
    #[serde(rename = "zerocopy")]
    #[serde_as(as = "Option<WireReport>")]
    pub copies: Option<CopyReport>,
}

impl Results {
    /// The results that this end sends to its peer.
    pub fn from_totals(
        totals: &RunTotals,
        test: &TestConfig,
        server_output: Option<ServerOutput>,
    ) -> Self {
        let mut senders = totals.streams.iter().filter(|s| s.role.sends()).peekable();
        let sender_has_retransmits = match senders.peek() {
            None => -1,
            Some(_) => senders.any(counts_retransmits).into(),
        };
        let congestion = totals.congestion.clone();
        // Real peers send times in whole microseconds.
        let micros = u64::try_from(totals.duration.as_micros()).unwrap_or(u64::MAX);
        let end_time = micros as f64 / 1e6;
        let zero_copy = test.zerocopy != ZeroCopy::default();
        Self {
            cpu: totals.cpu,
            sender_has_retransmits,
            congestion_used: congestion.filter(|_| test.transport.is_tcp()),
            server_output,
            checksum_errors: totals.checksum_errors,
            environment: None,
            exchanges: totals.exchanges(Role::Requester),
            limits: Vec::new(),
            one_way: totals.one_way.clone(),
            streams: totals
                .streams
                .iter()
                .map(|s| StreamResult {
                    copies: s.copies.clone().filter(|_| zero_copy),
                    ..StreamResult::from_outcome(s, end_time)
                })
                .collect(),
        }
    }

    /// Reads a peer's JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = text(bytes);
        let fields = Fields::parse(&text)?;
        let cpu = |key| fields.number(key).ok_or(ParseError::Missing(key));
        Ok(Self {
            cpu: CpuUsage {
                total: cpu("cpu_util_total")?,
                user: cpu("cpu_util_user")?,
                system: cpu("cpu_util_system")?,
            },
            sender_has_retransmits: required(&fields, "sender_has_retransmits")?,
            congestion_used: fields.string("congestion_used"),
            server_output: server_output(&fields),
            checksum_errors: (fields.integer("checksum_errors"))
                .and_then(|count| count.try_into().ok()),
            environment: environment::parse(&fields),
            limits: limits::parse(&fields),
            one_way: fields
                .secret("one_way")
                .and_then(|text| Latencies::from_base64(&text))
                .map(Arc::new),
            exchanges: fields
                .member("rr")
                .map(|fields| exchange::parse_counts(&fields)),
            streams: fields
                .objects("streams")
                .ok_or(ParseError::Missing("streams"))?
                .iter()
                .map(StreamResult::parse)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The JSON for the peer: compact, in the order of 3.22.
    #[expect(
        clippy::missing_panics_doc,
        reason = "the members are strings, numbers and checked JSON, which always serialize"
    )]
    pub fn to_json(&self) -> String {
        let (json, text) = match &self.server_output {
            None => (None, None),
            Some(ServerOutput::Text(text)) => (None, Some(text.as_str())),
            // Peers want an object there and nothing else. What is none goes as the text that it is.
            Some(ServerOutput::Json(text)) => match object(text) {
                Some(json) => (Some(json), None),
                None => (None, Some(text.as_str())),
            },
        };
        let wire = WireResults {
            cpu_util_total: wire_number(self.cpu.total),
            cpu_util_user: wire_number(self.cpu.user),
            cpu_util_system: wire_number(self.cpu.system),
            sender_has_retransmits: self.sender_has_retransmits,
            congestion_used: self.congestion_used.as_deref(),
            server_output_json: json,
            server_output_text: text,
            checksum_errors: self.checksum_errors,
            environment: self.environment.as_ref().map(environment::to_json),
            limits: (!self.limits.is_empty()).then(|| limits::to_json(&self.limits)),
            one_way: self.one_way.as_ref().map(|delays| delays.to_base64()),
            rr: self.exchanges.as_ref().map(exchange::counts_to_json),
            streams: &self.streams,
        };
        serde_json::to_string(&wire).expect("every member serializes")
    }
}

impl StreamResult {
    fn from_outcome(stream: &StreamOutcome, end_time: f64) -> Self {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut result = Self {
            id: stream.id.into(),
            bytes: stream.bytes,
            retransmits: -1,
            omitted_errors: Some(0),
            omitted_packets: Some(0),
            start_time: Some(0.0),
            end_time: Some(end_time),
            ..Self::default()
        };
        match &stream.detail {
            Detail::Bytes(totals) | Detail::Exchanges(_, totals) => {
                let tcp = totals.tcp.filter(|_| stream.role.sends());
                result.retransmits = tcp.map_or(-1, |tcp| signed(tcp.retransmits));
                let counts = stream.exchange_counts();
                let counts = counts.filter(|_| stream.role == Role::Requester);
                result.transactions = counts.map(|counts| signed(counts.transactions));
            }
            Detail::Datagrams(totals) => {
                result.jitter = if stream.role.sends() {
                    0.0
                } else {
                    totals.jitter
                };
                result.errors = totals.lost;
                result.omitted_errors = Some(totals.omitted_lost.unwrap_or(0));
                result.packets = signed(totals.packets);
                result.omitted_packets = Some(signed(totals.omitted_packets));
                result.socket_drops = totals.socket_drops.map(signed);
                result.duplicates = totals.duplicates.map(signed);
                result.out_of_order = Some(signed(totals.out_of_order)).filter(|&count| count > 0);
            }
        }
        result
    }

    fn parse(fields: &Fields<'_>) -> Result<Self, ParseError> {
        let result = Self {
            id: required(fields, "id")?,
            bytes: u64::try_from(required(fields, "bytes")?).unwrap_or(0),
            retransmits: required(fields, "retransmits")?,
            jitter: fields
                .number("jitter")
                .ok_or(ParseError::Missing("jitter"))?,
            errors: required(fields, "errors")?,
            omitted_errors: fields.integer("omitted_errors"),
            packets: required(fields, "packets")?,
            omitted_packets: fields.integer("omitted_packets"),
            socket_drops: fields.integer("socket_drops"),
            out_of_order: fields.integer("out_of_order"),
            duplicates: fields.integer("duplicates"),
            transactions: fields.integer("transactions"),
            copies: fields
                .member("zerocopy")
                .and_then(|fields| zerocopy_report::parse(&fields)),
            start_time: fields.number("start_time"),
            end_time: fields.number("end_time"),
        };
        if result.omitted_errors.is_some() == result.omitted_packets.is_some() {
            Ok(result)
        } else {
            Err(ParseError::HalfOmitted)
        }
    }
}

fn counts_retransmits(stream: &StreamOutcome) -> bool {
    stream
        .byte_totals()
        .is_some_and(|bytes| bytes.tcp.is_some())
}

fn required(fields: &Fields<'_>, key: &'static str) -> Result<i64, ParseError> {
    fields.integer(key).ok_or(ParseError::Missing(key))
}

fn server_output(fields: &Fields<'_>) -> Option<ServerOutput> {
    let json = fields.object("server_output_json").map(shown::json);
    json.map(Cow::into_owned)
        .map(|json| {
            if is_dense(&json) {
                ServerOutput::Text(json)
            } else {
                ServerOutput::Json(json)
            }
        })
        .or_else(|| {
            let text = fields.block("server_output_text")?;
            Some(ServerOutput::Text(text))
        })
}

/// Whether JSON has more values than a test's document of the same size. As values they would take forty times the
/// memory, so it stays a text.
fn is_dense(json: &str) -> bool {
    /// Names make it 15 and more in real documents.
    const BYTES_PER_VALUE: usize = 6;
    let values = json
        .bytes()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{'));
    values.count() > 1000 + json.len() / BYTES_PER_VALUE
}

fn object(text: &str) -> Option<Box<RawValue>> {
    let raw = RawValue::from_string(text.to_owned()).ok()?;
    raw.get().starts_with('{').then_some(raw)
}

#[skip_serializing_none]
#[derive(Serialize)]
struct WireResults<'a> {
    cpu_util_total: Number,
    cpu_util_user: Number,
    cpu_util_system: Number,
    sender_has_retransmits: i64,
    congestion_used: Option<&'a str>,
    server_output_json: Option<Box<RawValue>>,
    server_output_text: Option<&'a str>,
    checksum_errors: Option<u64>,
    environment: Option<Value>,
    one_way: Option<String>,
    rr: Option<Value>,
    limits: Option<Value>,
    streams: &'a [StreamResult],
}

/// A number as the peers' cJSON prints it.
struct WireNumber;

impl SerializeAs<f64> for WireNumber {
    fn serialize_as<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        wire_number(*number).serialize(serializer)
    }
}

/// The report of a stream that requests zero-copy.
struct WireReport;

impl SerializeAs<CopyReport> for WireReport {
    fn serialize_as<S: Serializer>(report: &CopyReport, serializer: S) -> Result<S::Ok, S::Error> {
        zerocopy_report::to_json(report).serialize(serializer)
    }
}
