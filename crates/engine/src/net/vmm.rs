//! The Unix sockets by which VMMs offer the vsock of their guests.
//!
//! A *hybrid* socket file reaches all ports of a guest, with one line each way before the stream: `CONNECT <port>`,
//! `OK <host port>`. In the other direction the VMM connects to `<file>_<port>`, without such lines. Other VMMs have a
//! socket file for each port, without such lines either.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Instant;

use iperf_model::{SocketName, VmmSocket, VmmSocketKind};
use nix::errno::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::EngineError;
use crate::net::connection::{Connection, HOST};
use crate::net::options::left;

/// The longest answer of a VMM that is still one: `OK ` and a number.
const LONGEST_ANSWER: usize = 32;

/// The longest path of a Unix socket: `sun_path` with its NUL (unix(7)).
const LONGEST_PATH: usize = 107;

/// Connects to a guest's port; it blocks until `deadline` at most.
pub(super) fn open(vmm: &VmmSocket, deadline: Instant) -> Result<Connection, EngineError> {
    let open = || {
        let socket = connect(&vmm.path, deadline)?;
        let host_port = match vmm.kind {
            VmmSocketKind::Hybrid => ask_for_port(&socket, vmm.port, deadline)?,
            // The VMM does not report which port of the host it uses.
            VmmSocketKind::Tied => 0,
        };
        Ok((socket, host_port))
    };
    let (socket, host_port) = open().map_err(|error| unreachable(vmm, error))?;
    Ok(Connection {
        socket,
        local: host(host_port),
        remote: vmm.guest(vmm.port),
    })
}

/// Names the two ends of a connection that a VMM made for a guest. The VMM reports neither which guest it is nor its
/// port.
pub fn forwarded(socket: Socket, vmm: &VmmSocket) -> Connection {
    Connection {
        socket,
        local: host(vmm.port),
        remote: vmm.guest(0),
    }
}

fn host(port: u32) -> SocketName {
    SocketName {
        host: HOST.to_string(),
        port,
    }
}

/// The address of a Unix socket. The standard library's error would name neither the length nor the limit.
pub fn unix_address(path: &Path) -> io::Result<SockAddr> {
    let length = path.as_os_str().len();
    if length > LONGEST_PATH {
        let text = format!(
            "the path {} has {length} bytes, and that of a socket at most {LONGEST_PATH}",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    SockAddr::unix(path)
}

fn connect(path: &Path, deadline: Instant) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Also the limit of connect, which waits while the VMM's backlog is full.
    socket.set_write_timeout(Some(left(deadline)))?;
    socket.connect(&unix_address(path)?)?;
    socket.set_write_timeout(None)?;
    Ok(socket)
}

fn ask_for_port(socket: &Socket, port: u32, deadline: Instant) -> io::Result<u32> {
    socket.set_write_timeout(Some(left(deadline)))?;
    (&mut &*socket).write_all(format!("CONNECT {port}\n").as_bytes())?;
    let host_port = read_answer(socket, port, deadline)?;
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    Ok(host_port)
}

/// What the kernel's answer means for a socket file.
fn unreachable(vmm: &VmmSocket, error: io::Error) -> EngineError {
    let file = vmm.path.display();
    let hint = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => Some(format!("{file} does not exist: is the VMM running?")),
        Some(Errno::ECONNREFUSED) if !is_socket(&vmm.path) => {
            Some(format!("{file} is not a socket"))
        }
        Some(Errno::ECONNREFUSED) => {
            Some(format!("nothing listens on {file}: is the VMM running?"))
        }
        Some(Errno::EPROTOTYPE) => Some(format!("{file} is not a stream socket")),
        Some(Errno::EAGAIN) => Some(format!("{file} takes no connections: is the VMM stuck?")),
        Some(Errno::ECONNRESET | Errno::EPIPE) => Some(format!("the VMM closed {file}")),
        _ => None,
    };
    EngineError::Connect {
        address: vmm.guest(vmm.port).to_string(),
        source: match hint {
            Some(hint) => io::Error::new(error.kind(), hint),
            None => error,
        },
    }
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Reads the VMM's answer, and not a byte of the stream behind it.
fn read_answer(mut socket: &Socket, port: u32, deadline: Instant) -> io::Result<u32> {
    let mut answer = Vec::new();
    loop {
        let mut byte = [0];
        // Anew for each byte: an answer that trickles in takes no longer than any other.
        socket.set_read_timeout(Some(left(deadline)))?;
        match socket.read(&mut byte) {
            Ok(0) => {
                let text = format!(
                    "the VMM closed the connection: nothing listens on port {port} in the guest"
                );
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
            }
            Ok(_) if byte == *b"\n" => break,
            Ok(_) => answer.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the VMM does not answer CONNECT {port}"),
                ));
            }
            Err(error) => return Err(error),
        }
        if answer.len() > LONGEST_ANSWER {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let number = text
        .strip_prefix("OK ")
        .and_then(|number| number.trim_end().parse().ok());
    number.ok_or_else(|| {
        io::Error::other(format!(
            "the VMM answers {text:?} to CONNECT {port}, and not OK and a port"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    /// What a client learns from a VMM that gives this answer.
    fn answered(answer: &'static [u8]) -> Result<Connection, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vm.vsock");
        let listener = UnixListener::bind(&path).unwrap();
        let vmm = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = [0; 13];
            stream.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"CONNECT 5201\n");
            stream.write_all(answer).unwrap();
            // A VMM closes the connection if nothing listens on the port.
            (!answer.is_empty()).then_some(stream)
        });
        let result = open(
            &VmmSocket::hybrid(path, 5201),
            Instant::now() + Duration::from_secs(20),
        );
        drop(vmm.join().unwrap());
        result.map_err(|error| error.to_string())
    }

    #[test]
    fn ok_and_a_port_is_a_connection_and_what_follows_is_the_stream() {
        let connection = answered(b"OK 1073741824\nhello").unwrap();
        assert_eq!(
            (connection.local.host.as_str(), connection.local.port),
            ("2", 1_073_741_824)
        );
        let mut rest = String::new();
        (&mut &connection.socket).read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "hello");
    }

    #[test]
    fn other_answers_are_errors() {
        for answer in [
            &b"NO\n"[..],
            b"OK many\n",
            b"SSH-2.0-OpenSSH_9.2 and more and more and more",
        ] {
            let error = answered(answer).unwrap_err();
            assert!(
                error.contains("to CONNECT 5201, and not OK and a port"),
                "{error}"
            );
        }
        let error = answered(b"").unwrap_err();
        assert!(
            error.contains("nothing listens on port 5201 in the guest"),
            "{error}"
        );
    }

    #[test]
    fn a_vmm_that_does_not_answer_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vm.vsock");
        let _silent = UnixListener::bind(&path).unwrap();
        let error = open(
            &VmmSocket::hybrid(path, 1),
            Instant::now() + Duration::from_millis(100),
        )
        .unwrap_err();
        assert!(
            error.to_string().contains("does not answer CONNECT 1"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_no_socket_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = open(
            &VmmSocket::hybrid(file.path(), 1),
            Instant::now() + Duration::from_secs(20),
        )
        .unwrap_err();
        assert!(error.to_string().ends_with("is not a socket"), "{error}");
    }
}
