//! The Unix socket on which a server waits for a guest's connections: `<path>_<port>`, or whatever file a VMM connects to
//! when a guest connects to that port of its host.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// A listening socket file, which is removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct HybridListener {
    pub(crate) listener: UnixListener,
    /// By which connections are named: the VMM's own socket file, where it has one.
    pub(crate) path: PathBuf,
    file: PathBuf,
}

impl HybridListener {
    /// Listens. A file that an earlier server left behind is replaced; any other is not touched.
    pub(crate) fn open(file: PathBuf, path: PathBuf) -> io::Result<Self> {
        make_way(&file)?;
        let listener = UnixListener::bind(&file)?;
        Ok(Self {
            listener,
            path,
            file,
        })
    }
}

impl Drop for HybridListener {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = fs::remove_file(&self.file);
    }
}

/// Removes a socket file on which nobody listens any more.
fn make_way(file: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(file) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        let text = format!("{} exists and is not a socket", file.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match UnixStream::connect(file) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(file),
        _ => {
            let text = format!("another program listens on {}", file.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(file: &Path) -> io::Result<HybridListener> {
        HybridListener::open(file.to_owned(), "/run/vm.vsock".into())
    }

    #[tokio::test]
    async fn the_file_is_there_while_somebody_listens() {
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
