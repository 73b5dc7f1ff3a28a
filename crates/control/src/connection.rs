//! A control connection with deadlines on everything.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iperf_model::{Keepalive, LocalOptions};
use iperf_proto::Machine;
use socket2::{SockAddr, SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{timeout, timeout_at};
use tracing::trace;

use crate::Wire;

/// How long a peer may take to make room for control messages, which are small.
const WRITE_LIMIT: Duration = Duration::from_secs(4);

/// How long to wait, at the end, for the peer to close its side too.
const CLOSE_LIMIT: Duration = Duration::from_millis(250);

/// How long sent bytes may stay unacknowledged.
const PEER_LIMIT: Duration = Duration::from_secs(40);

/// How an idle connection is probed: a peer that is gone is noticed after as long.
const KEEPALIVE: Keepalive = Keepalive {
    idle: Some(10),
    interval: Some(10),
    count: Some(3),
};

/// A control connection.
#[derive(Debug)]
pub struct Control {
    stream: Wire,
    buffer: Box<[u8]>,
}

/// The outcome of a read.
#[derive(Debug)]
pub enum Input {
    /// This many bytes: [`Control::feed`] hands them to the machine.
    Bytes(usize),
    /// The peer will send nothing more, or the connection broke.
    End,
}

impl Control {
    /// Takes over a connected stream and sets it up for small messages.
    pub fn new(stream: Wire) -> io::Result<Self> {
        if let Wire::Tcp(stream) = &stream {
            stream.set_nodelay(true)?;
        }
        Ok(Self {
            stream,
            buffer: vec![0; 16 * 1024].into_boxed_slice(),
        })
    }

    /// The socket, for its options.
    pub fn socket(&self) -> SockRef<'_> {
        self.stream.socket()
    }

    /// The peer's internet address.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        inet(&self.socket().peer_addr()?)
    }

    /// This end's internet address, to listen on in addition to the connection: an IPv4 address mapped into IPv6 is plain IPv4.
    pub fn local(&self) -> io::Result<SocketAddr> {
        let local = inet(&self.socket().local_addr()?)?;
        let mut address = SocketAddr::new(local.ip().to_canonical(), local.port());
        // A link-local address means nothing without its scope.
        if let (SocketAddr::V6(address), SocketAddr::V6(local)) = (&mut address, local) {
            address.set_scope_id(local.scope_id());
        }
        Ok(address)
    }

    /// Makes the kernel notice a peer that is gone without a word, where it is TCP: as the options of this end ask for
    /// (`--snd-timeout`, `--cntl-ka`), or within `PEER_LIMIT` (40 s).
    pub fn configure(&self, options: &LocalOptions) -> io::Result<()> {
        if !matches!(self.stream, Wire::Tcp(_)) {
            return Ok(());
        }
        self.set_user_timeout(options.snd_timeout.unwrap_or(PEER_LIMIT))?;
        self.set_keepalive(options.keepalive.unwrap_or(KEEPALIVE))
    }

    /// Drops the connection when sent data stay unacknowledged for this long (`TCP_USER_TIMEOUT`).
    fn set_user_timeout(&self, limit: Duration) -> io::Result<()> {
        self.socket().set_tcp_user_timeout(Some(limit))
    }

    /// Turns keepalive on (`--cntl-ka`).
    fn set_keepalive(&self, keepalive: Keepalive) -> io::Result<()> {
        let mut probes = TcpKeepalive::new();
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        if let Some(idle) = keepalive.idle {
            probes = probes.with_time(seconds(idle));
        }
        if let Some(interval) = keepalive.interval {
            probes = probes.with_interval(seconds(interval));
        }
        if let Some(count) = keepalive.count {
            probes = probes.with_retries(count);
        }
        self.socket().set_keepalive(true)?;
        self.socket().set_tcp_keepalive(&probes)
    }

    /// Writes all that the machine has to send.
    pub async fn flush(&mut self, machine: &mut impl Machine) -> io::Result<()> {
        while let Some(bytes) = machine.poll_transmit() {
            trace!(length = bytes.len(), first = bytes.first(), "send");
            timeout(WRITE_LIMIT, self.stream.write_all(&bytes))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        }
        Ok(())
    }

    /// Whether the peer has sent something, or its end of the connection is closed, and nothing has read that yet.
    pub fn has_unread(&self) -> bool {
        let peeked = self.socket().peek(&mut [MaybeUninit::uninit()]);
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Waits for bytes from the peer. Nothing is lost when this future is dropped.
    pub async fn read(&mut self) -> Input {
        match self.stream.read(&mut self.buffer).await {
            Ok(0) => Input::End,
            Ok(length) => Input::Bytes(length),
            Err(error) => {
                trace!(%error, "control connection broke");
                Input::End
            }
        }
    }

    /// Hands what was read to the machine.
    pub fn feed(&self, input: &Input, machine: &mut impl Machine) {
        let now = Instant::now();
        match input {
            Input::Bytes(length) => machine.handle_input(&self.buffer[..*length], now),
            Input::End => machine.handle_eof(now),
        }
    }

    /// The stream, which has no unread bytes here.
    pub(crate) fn into_wire(self) -> Wire {
        self.stream
    }

    /// Shuts the connection down gracefully: sends no more, and reads what the peer still sends, so that the peer
    /// sees an end of stream and not a reset. It does not wait for a peer that keeps its side open.
    pub async fn close(mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let deadline = tokio::time::Instant::now() + CLOSE_LIMIT;
        while let Ok(Ok(1..)) = timeout_at(deadline, self.stream.read(&mut self.buffer)).await {}
    }
}

fn inet(address: &SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .ok_or_else(|| io::Error::other("not an internet address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn a_mapped_address_is_plain_ipv4() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let control = Control::new(Wire::Tcp(TcpStream::from_std(accepted).unwrap())).unwrap();
        let expected = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert_eq!(control.local().unwrap(), expected);
    }
}
