//! What carries a control connection: TCP, vsock, or the Unix socket of a VMM. A server's data connections are of the
//! same kind until their cookie is read.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_vsock::VsockStream;

/// A connected byte stream.
#[derive(Debug)]
pub enum Wire {
    /// TCP, or anything else that behaves like it.
    Tcp(TcpStream),
    /// `AF_VSOCK`.
    Vsock(VsockStream),
    /// A VMM's Unix socket.
    Unix(UnixStream),
}

impl Wire {
    /// Takes over a connected vsock.
    pub fn vsock(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::Vsock(VsockStream::from(OwnedFd::from(socket))))
    }

    /// Takes over a connected Unix socket.
    pub fn unix(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::Unix(UnixStream::from_std(
            OwnedFd::from(socket).into(),
        )?))
    }

    /// Takes over a connected TCP socket.
    fn tcp(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        TcpStream::from_std(socket.into()).map(Self::Tcp)
    }

    /// Takes the stream out of its runtime, to be used in another.
    pub(crate) fn detach(self) -> io::Result<DetachedWire> {
        let attach = match &self {
            Self::Tcp(_) => Self::tcp,
            Self::Vsock(_) => Self::vsock,
            Self::Unix(_) => Self::unix,
        };
        let socket = self.into_socket()?;
        Ok(DetachedWire { socket, attach })
    }

    /// The socket, for its options.
    pub fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Vsock(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        }
    }

    /// Takes the socket out of the runtime. It stays non-blocking.
    pub fn into_socket(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Socket::from),
            Self::Unix(stream) => stream.into_std().map(|s| Socket::from(OwnedFd::from(s))),
            // The runtime keeps its own descriptor, and this one stays when it goes.
            Self::Vsock(stream) => stream.as_fd().try_clone_to_owned().map(Socket::from),
        }
    }
}

/// A connected byte stream outside of any runtime.
#[derive(Debug)]
pub(crate) struct DetachedWire {
    socket: Socket,
    attach: fn(Socket) -> io::Result<Wire>,
}

impl DetachedWire {
    /// Puts the stream into the present runtime.
    pub(crate) fn attach(self) -> io::Result<Wire> {
        (self.attach)(self.socket)
    }
}

/// Calls the same method of the stream, of any kind.
macro_rules! forward {
    ($self:ident, $method:ident, $($argument:expr),*) => {
        match $self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Self::Vsock(stream) => Pin::new(stream).$method($($argument),*),
            Self::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, poll_read, context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, poll_write, context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_flush, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_shutdown, context)
    }
}
