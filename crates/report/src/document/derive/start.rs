//! The member `start`, as events fill it.

use iperf_model::{
    BitRate, Buffers, Carrier, Direction, Peer, SocketName, StreamInfo, TestBegan, TestStarted,
    Transport,
};

use super::seconds;
use crate::document::{Connection, HostPort, Start, TestStart, Timestamp, Vsock};
use crate::stamp;

impl Start {
    pub(in crate::document) fn opened(&mut self, stream: &StreamInfo) {
        self.connected.push(Connection {
            socket: stream.socket.into(),
            local_host: stream.local.host.clone(),
            local_port: stream.local.port,
            remote_host: stream.remote.host.clone(),
            remote_port: stream.remote.port,
        });
    }

    pub(in crate::document) fn began(&mut self, began: &TestBegan) {
        let milliseconds = stamp::unix_milliseconds(began.at);
        self.timestamp = Some(Timestamp {
            time: stamp::rfc1123(began.at),
            timesecs: milliseconds / 1000,
            timemillisecs: Some(milliseconds),
        });
        match &began.peer {
            Peer::ConnectingTo(peer) => self.connecting_to = Some(host_port(peer)),
            Peer::AcceptedFrom(peer) => self.accepted_connection = Some(host_port(peer)),
        }
        self.cookie = Some(began.cookie.clone());
        let config = &began.config;
        if config.transport.is_tcp() {
            match config.socket.mss {
                Some(mss) => self.tcp_mss = Some(mss.into()),
                None => self.tcp_mss_default = Some(began.control_mss.into()),
            }
        }
        self.target_bitrate = Some(config.pacing.rate.map_or(0, BitRate::bits));
        self.fq_rate = Some(config.pacing.fq_rate.map_or(0, BitRate::bits));
    }

    pub(in crate::document) fn carried_by(
        &mut self,
        carrier: &Carrier,
        transport: Option<Transport>,
    ) {
        let (carrier, socket_file) = match carrier {
            Carrier::Vsock => ("vsock", None),
            Carrier::Unix(file) => ("unix", Some(file.to_string_lossy().into_owned())),
        };
        let socket_type = match transport {
            Some(Transport::VsockSeqpacket) => "seqpacket",
            _ => "stream",
        };
        self.vsock = Some(Vsock {
            carrier: carrier.to_owned(),
            socket_file,
            socket_type: socket_type.to_owned(),
            ..Vsock::default()
        });
    }

    pub(in crate::document) fn buffers(&mut self, buffers: Buffers, transport: Option<Transport>) {
        let requested = Some(buffers.requested.into());
        let (sndbuf, rcvbuf) = (Some(buffers.sndbuf.into()), Some(buffers.rcvbuf.into()));
        if let Some(vsock) = &mut self.vsock {
            vsock.bufsize = requested;
            vsock.sndbuf_actual = sndbuf;
            vsock.rcvbuf_actual = rcvbuf;
        }
        // iperf3's fork for vsock has no such keys; `vsock` has them.
        if transport.is_some_and(|transport| !transport.is_vsock()) {
            self.sock_bufsize = requested;
            self.sndbuf_actual = sndbuf;
            self.rcvbuf_actual = rcvbuf;
        }
    }

    pub(in crate::document) fn started(&mut self, started: &TestStarted) {
        let config = &started.config;
        self.test_start = Some(TestStart {
            protocol: config.transport.name().to_owned(),
            num_streams: config.streams.into(),
            blksize: config.block.into(),
            omit: config.omit.into(),
            duration: config.limit.seconds().into(),
            bytes: config.limit.bytes(),
            blocks: config.limit.blocks(),
            reverse: u64::from(config.direction == Direction::Reverse),
            tos: Some(config.socket.tos.into()),
            target_bitrate: Some(config.pacing.rate.map_or(0, BitRate::bits)),
            bidir: Some(u64::from(config.direction == Direction::Bidirectional)),
            fqrate: Some(config.pacing.fq_rate.map_or(0, BitRate::bits)),
            interval: Some(started.interval.map_or(0.0, seconds)),
            gso: Some(started.gso.into()),
            gro: Some(started.gro.into()),
        });
    }
}

fn host_port(name: &SocketName) -> HostPort {
    HostPort {
        host: name.host.clone(),
        port: name.port,
    }
}
