//! The Unix socket on which a server accepts the connections of a virtual machine: `<path>_<port>`, or any file that a
//! VMM connects to when its guest connects to that port of the host.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use iperf_control::{FileId, OwnFile};
use iperf_engine::net::vmm::unix_address;
use iperf_model::VmmSocket;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// A listening socket, whose file is removed when this value is dropped, unless another process has replaced it.
#[derive(Debug)]
pub(crate) struct UnixSocketListener {
    /// Before the listener, which keeps the file's inode in use: fields are dropped in this order.
    _file: OwnFile,
    pub(crate) listener: UnixListener,
    /// By which connections are named.
    pub(crate) socket: VmmSocket,
}

impl UnixSocketListener {
    /// Listens. A stale socket file is replaced; one in use, or a file that is not a socket, is left alone.
    pub(crate) fn open(socket: &VmmSocket) -> io::Result<Self> {
        let file = socket.server_file();
        // A path that is too long is named with its length.
        unix_address(&file)?;
        remove_stale(&file)?;
        let listener = UnixListener::bind(&file)?;
        let id = FileId::at(&file)?;
        Ok(Self {
            _file: OwnFile::new(file, id),
            listener,
            socket: socket.clone(),
        })
    }
}

/// Removes a socket file without a listener.
fn remove_stale(file: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(file) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        let text = format!("{} exists and is not a socket", file.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    if is_stale(file)? {
        FileId::of(&metadata).remove(file)?;
        return Ok(());
    }
    let text = format!("another program listens on {}", file.display());
    Err(io::Error::new(io::ErrorKind::AddrInUse, text))
}

/// Whether a socket file has no listener. It does not wait for listeners whose backlog is full.
fn is_stale(file: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let refused = socket.connect(&SockAddr::unix(file)?).err();
    Ok(refused.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(file: &Path) -> io::Result<UnixSocketListener> {
        UnixSocketListener::open(&VmmSocket::tied(file, 1))
    }

    #[tokio::test]
    async fn the_file_exists_while_the_server_listens() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vm.vsock_5201");
        let listener = open(&file).unwrap();
        assert!(file.exists());
        let second = open(&file).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert!(file.exists(), "the first one still listens there");
        drop(listener);
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn an_old_server_leaves_its_successors_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vm.vsock_5201");
        let old = open(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let successor = open(&file).unwrap();
        drop(old);
        assert!(file.exists());
        drop(successor);
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn a_listener_with_a_full_backlog_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vm.vsock_1");
        let busy = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        busy.bind(&SockAddr::unix(&file).unwrap()).unwrap();
        busy.listen(0).unwrap();
        let _waiting = std::os::unix::net::UnixStream::connect(&file).unwrap();
        let error = open(&file).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
    }

    #[tokio::test]
    async fn a_stale_file_is_replaced_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vm.vsock_1");
        // Closing the listener leaves its file behind.
        drop(std::os::unix::net::UnixListener::bind(&file).unwrap());
        assert!(file.exists());
        drop(open(&file).unwrap());
        fs::write(&file, "precious").unwrap();
        let error = open(&file).unwrap_err();
        assert!(
            error.to_string().ends_with("exists and is not a socket"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }
}
