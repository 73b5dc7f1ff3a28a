//! The file system that a guest begins with: a tree in memory, and the format that Linux reads (`cpio`, format
//! "newc", described in Documentation/driver-api/early-userspace/buffer-format.rst of the kernel).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Type bits of a mode (sys/stat.h).
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// A tree of files, all of them root's.
#[derive(Clone, Debug, Default)]
pub struct Image {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    mode: u32,
    bytes: Vec<u8>,
}

impl Image {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a folder and those above it.
    pub fn folder(&mut self, path: impl AsRef<Path>) {
        let path = relative(path.as_ref());
        for folder in path.ancestors().filter(|a| !a.as_os_str().is_empty()) {
            let mode = DIRECTORY | 0o755;
            let bytes = Vec::new();
            self.entries
                .entry(folder.to_owned())
                .or_insert(Entry { mode, bytes });
        }
    }

    /// Adds a file that everybody may read and run, and its folders; one that is there already is replaced.
    pub fn file(&mut self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) {
        self.put(path.as_ref(), REGULAR | 0o755, bytes.into());
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: impl AsRef<Path>, target: &str) {
        self.put(path.as_ref(), LINK | 0o777, target.into());
    }

    /// Whether there is something at this path.
    pub fn has(&self, path: impl AsRef<Path>) -> bool {
        self.entries.contains_key(&relative(path.as_ref()))
    }

    /// The tree as the kernel unpacks it.
    pub fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            pack_entry(&mut packed, number, path, entry);
        }
        let end = Entry {
            mode: 0,
            bytes: Vec::new(),
        };
        pack_entry(&mut packed, 0, Path::new("TRAILER!!!"), &end);
        packed
    }

    fn put(&mut self, path: &Path, mode: u32, bytes: Vec<u8>) {
        let path = relative(path);
        if let Some(folder) = path.parent() {
            self.folder(folder);
        }
        self.entries.insert(path, Entry { mode, bytes });
    }
}

/// The path below the root, without detours.
fn relative(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => _ = plain.pop(),
            _ => {}
        }
    }
    plain
}

/// A header of 13 numbers in hex, the name and the bytes, each filled up to a multiple of four.
fn pack_entry(packed: &mut Vec<u8>, number: usize, path: &Path, entry: &Entry) {
    let name = path.as_os_str().as_encoded_bytes();
    let links = if entry.mode & DIRECTORY == DIRECTORY {
        2
    } else {
        1
    };
    let mode = entry.mode as usize;
    let sizes = (entry.bytes.len(), name.len() + 1);
    packed.extend(b"070701");
    for field in [
        number, mode, 0, 0, links, 0, sizes.0, 0, 0, 0, 0, sizes.1, 0,
    ] {
        packed.extend(format!("{field:08x}").bytes());
    }
    packed.extend(name);
    packed.push(0);
    fill_up(packed);
    packed.extend(&entry.bytes);
    fill_up(packed);
}

fn fill_up(packed: &mut Vec<u8>) {
    packed.resize(packed.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut image = Image::new();
        image.file("/usr/lib/../bin/x", "xyz");
        image.link("bin", "usr/bin");
        assert!(image.has("/usr/bin/x") && image.has("usr") && !image.has("/usr/lib"));
        let packed = image.pack();
        // Behind the 13 numbers and "070701".
        let place = |name: &str| {
            let name = format!("{:08x}{name}\0", 0);
            let found = packed
                .windows(name.len())
                .position(|w| w == name.as_bytes());
            found.unwrap_or_else(|| panic!("{name:?} is missing"))
        };
        let names = ["bin", "usr", "usr/bin", "usr/bin/x", "TRAILER!!!"].map(place);
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(packed.len() % 4, 0);
        let file = String::from_utf8_lossy(&packed);
        let header = "070701000000040 00081ed".replace(' ', "");
        assert!(file.contains(&header), "number 4 is a regular file, 0755");
    }
}
