//! The kernel module of `crates/zc/kernel`, built for the lab's kernels by `tests/lab/build-module`.

use std::path::PathBuf;
use std::process::Command;

use super::{Kernel, folder};
use iperf_harness::paths;

/// What the build leaves.
#[derive(Clone, Debug)]
pub struct ZerocopyModule {
    /// The module, for [`super::Machine::load_file`].
    pub file: PathBuf,
    /// The program that checks it; its argument is the module's file, which must not be loaded.
    pub contract: PathBuf,
}

impl ZerocopyModule {
    /// Builds the module for a kernel, if that has not been done; the first build fetches a compiler.
    pub fn build(kernel: Kernel) -> Self {
        let lab = folder();
        let output = Command::new(paths::workspace().join("tests/lab/build-module"))
            .arg(kernel.release())
            .arg(lab)
            .output()
            .expect("tests/lab/build-module starts");
        assert!(
            output.status.success(),
            "the kernel module cannot be built for Linux {}:\n{}",
            kernel.release(),
            String::from_utf8_lossy(&output.stderr)
        );
        let built = lab.join("module").join(kernel.release());
        Self {
            file: built.join("vsock_zerocopy.ko"),
            contract: built.join("contract"),
        }
    }
}
