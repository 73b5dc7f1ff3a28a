//! The member `start`: who talks to whom, about what.
//!
//! The order of members is that of the moments at which iperf3 learns of them, which differ between the ends.

use iperf_model::{
    Buffers, Carrier, Direction, Event, Peer, SocketName, StreamInfo, TestBegan, TestConfig,
    TestStarted, Transport,
};
use serde_json::{Map, Value, json};

use crate::{ReportOptions, stamp, sums};

/// What `start` is made of, as far as the test has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    streams: Vec<StreamInfo>,
    began: Option<TestBegan>,
    carrier: Option<Carrier>,
    buffers: Option<Buffers>,
    started: Option<TestStarted>,
}

impl Start {
    /// Takes what concerns the start of a test.
    pub(crate) fn record(&mut self, event: &Event) {
        match event {
            Event::TestBegan(began) => self.began = Some(began.clone()),
            Event::StreamOpened(stream) => self.streams.push(stream.clone()),
            Event::CarriedBy(carrier) => self.carrier = Some(carrier.clone()),
            Event::BuffersKept(buffers) => self.buffers = Some(*buffers),
            Event::TestStarted(started) => self.started = Some(started.clone()),
            _ => {}
        }
    }

    /// The member as it stands.
    pub(crate) fn value(&self, options: &ReportOptions) -> Value {
        let mut start = Map::new();
        let connected: Vec<_> = self.streams.iter().map(connected).collect();
        start.insert("connected".into(), connected.into());
        start.insert("version".into(), json!(options.version));
        start.insert("system_info".into(), json!(options.system_info));
        if let Some(began) = &self.began {
            // A server sets buffers up on its TCP listener, before it knows of a test.
            let early = !options.is_client && began.config.transport.is_tcp();
            if early {
                self.insert_buffers(&mut start, &began.config);
            }
            insert_exchange(&mut start, began);
            if !early {
                self.insert_buffers(&mut start, &began.config);
            }
        }
        if let Some(carrier) = &self.carrier {
            let transport = self.began.as_ref().map(|began| began.config.transport);
            start.insert("vsock".into(), vsock(carrier, transport, self.buffers));
        }
        if let Some(started) = &self.started {
            start.insert("test_start".into(), test_start(started));
        }
        Value::Object(start)
    }

    fn insert_buffers(&self, start: &mut Map<String, Value>, config: &TestConfig) {
        let Some(buffers) = self.buffers else { return };
        // iperf3's fork for vsock has no such keys; `vsock` has them.
        if config.transport.is_vsock() {
            return;
        }
        start.insert("sock_bufsize".into(), json!(buffers.requested));
        start.insert("sndbuf_actual".into(), json!(buffers.sndbuf));
        start.insert("rcvbuf_actual".into(), json!(buffers.rcvbuf));
    }
}

/// Our own member: what the streams travel over, and the buffers of their sockets.
fn vsock(carrier: &Carrier, transport: Option<Transport>, buffers: Option<Buffers>) -> Value {
    let mut members = Map::new();
    match carrier {
        Carrier::Vsock => members.insert("carrier".into(), json!("vsock")),
        Carrier::Unix(file) => {
            members.insert("carrier".into(), json!("unix"));
            members.insert("socket_file".into(), json!(file.to_string_lossy()))
        }
    };
    let socket_type = match transport {
        Some(Transport::VsockSeqpacket) => "seqpacket",
        _ => "stream",
    };
    members.insert("socket_type".into(), json!(socket_type));
    if let Some(buffers) = buffers {
        members.insert("bufsize".into(), json!(buffers.requested));
        members.insert("sndbuf_actual".into(), json!(buffers.sndbuf));
        members.insert("rcvbuf_actual".into(), json!(buffers.rcvbuf));
    }
    members.into()
}

fn connected(stream: &StreamInfo) -> Value {
    json!({
        "socket": stream.socket,
        "local_host": stream.local.host,
        "local_port": stream.local.port,
        "remote_host": stream.remote.host,
        "remote_port": stream.remote.port,
    })
}

fn insert_exchange(start: &mut Map<String, Value>, began: &TestBegan) {
    let milliseconds = stamp::unix_milliseconds(began.at);
    start.insert(
        "timestamp".into(),
        json!({
            "time": stamp::rfc1123(began.at),
            "timesecs": milliseconds / 1000,
            "timemillisecs": milliseconds,
        }),
    );
    let (key, peer) = match &began.peer {
        Peer::ConnectingTo(peer) => ("connecting_to", peer),
        Peer::AcceptedFrom(peer) => ("accepted_connection", peer),
    };
    start.insert(key.into(), host_and_port(peer));
    start.insert("cookie".into(), json!(began.cookie));
    if began.config.transport.is_tcp() {
        match began.config.socket.mss {
            Some(mss) => start.insert("tcp_mss".into(), json!(mss)),
            None => start.insert("tcp_mss_default".into(), json!(began.control_mss)),
        };
    }
    let pacing = &began.config.pacing;
    start.insert("target_bitrate".into(), json!(pacing.rate.unwrap_or(0)));
    start.insert("fq_rate".into(), json!(pacing.fq_rate.unwrap_or(0)));
}

fn host_and_port(name: &SocketName) -> Value {
    json!({ "host": name.host, "port": name.port })
}

fn test_start(started: &TestStarted) -> Value {
    let config = &started.config;
    json!({
        "protocol": config.transport.name(),
        "num_streams": config.streams,
        "blksize": config.block,
        "omit": config.omit,
        "duration": config.limit.seconds(),
        "bytes": config.limit.bytes(),
        "blocks": config.limit.blocks(),
        "reverse": u8::from(config.direction == Direction::Reverse),
        "tos": config.socket.tos,
        "target_bitrate": config.pacing.rate.unwrap_or(0),
        "bidir": u8::from(config.direction == Direction::Bidirectional),
        "fqrate": config.pacing.fq_rate.unwrap_or(0),
        "interval": started.interval.map_or(0.0, sums::seconds),
        "gso": u8::from(started.gso),
        "gro": u8::from(started.gro),
    })
}
