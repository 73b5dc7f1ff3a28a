//! A file that this process has put into a directory, and removes at the end.
//!
//! By then another process may own the name: the file was removed, and a successor created its own. So a file is removed
//! only if device and inode show that the name still leads to the one that was created.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tracing::debug;

/// The identity of a file, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file with this metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// The file of this name. A symbolic link is a file of its own.
    pub fn at(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// Removes the name if it still leads to this file; whether it did.
    pub fn remove(self, path: &Path) -> io::Result<bool> {
        match Self::at(path) {
            Ok(id) if id == self => fs::remove_file(path).map(|()| true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Removes a file when it is dropped, if it is still the same.
///
/// The owner keeps the file open meanwhile, so that its inode is not used for another.
#[derive(Debug)]
pub struct OwnFile {
    path: PathBuf,
    id: FileId,
}

impl OwnFile {
    /// The file of this name, which this process has made and keeps open.
    pub fn new(path: PathBuf, id: FileId) -> Self {
        Self { path, id }
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        match self.id.remove(&self.path) {
            Ok(true) => {}
            Ok(false) => debug!(path = %self.path.display(), "the file is another's by now"),
            Err(error) => debug!(path = %self.path.display(), %error, "can't remove the file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_file_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let first = fs::File::create(&path).unwrap();
        let own = OwnFile::new(path.clone(), FileId::at(&path).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a successor's").unwrap();
        drop(own);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a successor's");
        drop(first);

        drop(OwnFile::new(path.clone(), FileId::at(&path).unwrap()));
        assert!(!path.exists());
    }

    #[test]
    fn a_link_to_the_file_is_another_file() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&path, "").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(!FileId::at(&path).unwrap().remove(&link).unwrap());
        assert!(link.exists() && path.exists());
        fs::remove_file(&path).unwrap();
        assert!(!FileId::at(&link).unwrap().remove(&path).unwrap());
    }
}
