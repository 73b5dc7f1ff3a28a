//! The Unix socket on which a server accepts the connections of a virtual machine: `<path>_<port>`, or any file that a
//! VMM connects to when its guest connects to that port of the host.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use iperf_control::{FileId, OwnFile};
use iperf_engine::net::vmm::unix_address;
use iperf_model::VmmSocket;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// How long another server may take to replace a file in the same folder.
const LOCKED: Duration = Duration::from_millis(500);

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
        // Until the socket listens: before that, another server that starts would take its file for a stale one.
        let _lock = lock_folder(&file);
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

/// Locks the folder of a socket file, so that one server at a time looks for stale files in it and replaces them. A server
/// that may not read the folder, or that waits too long for another program's lock, does without.
fn lock_folder(file: &Path) -> Option<Flock<File>> {
    let folder = file.parent().filter(|path| !path.as_os_str().is_empty());
    let mut folder = File::open(folder.unwrap_or(Path::new("."))).ok()?;
    let deadline = Instant::now() + LOCKED;
    loop {
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((unlocked, Errno::EWOULDBLOCK)) if Instant::now() < deadline => {
                folder = unlocked;
                thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return None,
        }
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

    /// The first server has bound its socket, which does not listen yet, when the second one starts.
    #[tokio::test]
    async fn a_server_that_starts_at_the_same_time_keeps_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vm.vsock_1");
        let lock = lock_folder(&file).unwrap();
        let first = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        first.bind(&SockAddr::unix(&file).unwrap()).unwrap();
        let path = file.clone();
        let runtime = tokio::runtime::Handle::current();
        let second = thread::spawn(move || {
            let _context = runtime.enter();
            open(&path)
        });
        thread::sleep(LOCKED / 5);
        first.listen(1).unwrap();
        drop(lock);
        let error = second.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        std::os::unix::net::UnixStream::connect(&file).unwrap();
    }

    #[tokio::test]
    async fn the_lock_of_another_program_keeps_no_server_from_starting() {
        let directory = tempfile::tempdir().unwrap();
        let _lock = lock_folder(&directory.path().join("any")).unwrap();
        open(&directory.path().join("vm.vsock_1")).unwrap();
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
