//! Opening the data streams: one after another, because a server tells them apart by their order alone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iperf_engine::net::tcp::{self, TcpPlan};
use iperf_engine::{EngineError, Stream};
use iperf_model::{ClientConfig, TestConfig};
use iperf_proto::cookie::Cookie;
use iperf_proto::stream_id::stream_id;

/// How long one connection may take (iperf3 3.22 allows as much).
const CONNECT_LIMIT: Duration = Duration::from_secs(120);

/// All that is needed to open the streams on another thread.
#[derive(Debug)]
pub(crate) struct Opening {
    config: ClientConfig,
    target: SocketAddr,
    /// Local address of the first stream, with its port, or with 0 for any.
    local: Option<SocketAddr>,
    cookie: Cookie,
}

impl Opening {
    pub(crate) fn new(
        config: ClientConfig,
        target: SocketAddr,
        local: Option<SocketAddr>,
        cookie: Cookie,
    ) -> Self {
        Self {
            config,
            target,
            local,
            cookie,
        }
    }

    /// Opens all streams; it blocks.
    pub(crate) fn open(self) -> Result<Vec<Stream>, EngineError> {
        let test = &self.config.test;
        (0..test.total_streams())
            .map(|index| self.open_one(test, index))
            .collect()
    }

    fn open_one(&self, test: &TestConfig, index: usize) -> Result<Stream, EngineError> {
        let plan = TcpPlan {
            transport: test.transport,
            options: test.socket.clone(),
            fq_rate: test.pacing.fq_rate,
            snd_timeout: self.config.local.snd_timeout,
            bind: self.local.map(|local| nth_port(local, index)),
            bind_dev: self.config.local.bind_dev.clone(),
        };
        let deadline = Instant::now() + CONNECT_LIMIT;
        let sending = test.sends_on(index, true);
        let greeting = self.cookie.as_bytes();
        tcp::connect(
            &plan,
            self.target,
            greeting,
            stream_id(index),
            sending,
            deadline,
        )
    }
}

/// With `--cport` the n-th stream uses the n-th port from there on.
fn nth_port(first: SocketAddr, index: usize) -> SocketAddr {
    let port = match (first.port(), u16::try_from(index)) {
        (0, _) | (_, Err(_)) => 0,
        (port, Ok(index)) => port.wrapping_add(index),
    };
    SocketAddr::new(first.ip(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_count_up_from_cport() {
        let first: SocketAddr = "127.0.0.1:6000".parse().unwrap();
        assert_eq!(nth_port(first, 3).port(), 6003);
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert_eq!(nth_port(any, 3).port(), 0);
    }
}
