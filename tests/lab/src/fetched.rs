//! What `tests/lab/fetch` has put into the target directory.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use iperf_harness::paths;

/// A kernel of Debian's for virtual machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// The newest one.
    New,
    /// The newest of the long-term series 6.12.
    Lts,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::New, Self::Lts];

    /// The name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Lts => "6.12",
        }
    }

    /// What `uname -r` prints in the guest, and the version of the headers that modules are built with.
    pub fn release(self) -> String {
        let text = fs::read_to_string(self.folder().join("version"));
        text.expect("a kernel comes with its version")
            .trim()
            .to_owned()
    }

    /// The kernel itself.
    pub fn image(self) -> PathBuf {
        self.folder().join("vmlinuz")
    }

    /// The file of a module; `None` if the kernel needs none or has none.
    pub fn module(self, name: &str) -> Option<PathBuf> {
        let file = self.folder().join(format!("modules/{name}.ko"));
        file.exists().then_some(file)
    }

    fn folder(self) -> PathBuf {
        folder().join("kernels").join(self.name())
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The lab's folder; the first use may fill it.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = paths::target().join("lab");
        let output = Command::new(paths::workspace().join("tests/lab/fetch"))
            .arg(&folder)
            .output()
            .expect("tests/lab/fetch starts");
        assert!(
            output.status.success(),
            "the lab's kernels and programs are not to be had:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        folder
    })
}

/// The files of a module and of all that it needs, in the order in which they can be loaded. A module names
/// those that it needs.
pub(super) fn load_order(kernel: Kernel, names: &[String]) -> Vec<(String, Vec<u8>)> {
    let mut order = Vec::new();
    for name in names {
        add_module(kernel, name, &mut order);
    }
    order
}

fn add_module(kernel: Kernel, name: &str, order: &mut Vec<(String, Vec<u8>)>) {
    if order.iter().any(|(known, _)| known == name) {
        return;
    }
    // One without a file is built into this kernel: else the fetching would have failed.
    let Some(file) = kernel.module(name) else {
        return;
    };
    let bytes = super::programs::read(&file);
    for need in needs(&bytes) {
        add_module(kernel, &need, order);
    }
    order.push((name.to_owned(), bytes));
}

/// The modules that a module names in its `.modinfo` section.
pub(super) fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let rest = &module[at + KEY.len()..];
    let value = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).replace('-', "_");
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_its_dependencies() {
        assert_eq!(
            needs(b"x\0author=A\0depends=udp_tunnel,ip6-udp-tunnel\0name=sctp\0"),
            ["udp_tunnel", "ip6_udp_tunnel"]
        );
        assert!(needs(b"x\0depends=\0name=vsock\0").is_empty());
        assert!(needs(b"no such section").is_empty());
    }
}
