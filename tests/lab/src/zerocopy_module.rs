//! The kernel modules of `crates/zc/kernel`, built for the lab's kernels by `tests/lab/build-module`.

use std::path::PathBuf;
use std::process::Command;

use super::{Kernel, folder};
use iperf_harness::paths;

/// What the build leaves.
#[derive(Clone, Debug)]
pub struct ZerocopyModule {
    /// `vsock_zerocopy`, for [`super::Machine::load_file`].
    pub file: PathBuf,
    /// `virtio_vsock_pages`, which stands in for the stock transport of guests.
    pub transport: PathBuf,
    /// The program that checks `vsock_zerocopy`; its argument is the module's file, which must not be loaded.
    pub contract: PathBuf,
}

impl ZerocopyModule {
    /// Builds the modules for a kernel, if that has not been done; the first build fetches a compiler.
    pub fn build(kernel: Kernel) -> Self {
        let lab = folder();
        let output = Command::new(paths::workspace().join("tests/lab/build-module"))
            .arg(kernel.release())
            .arg(lab)
            .output()
            .expect("tests/lab/build-module starts");
        assert!(
            output.status.success(),
            "the kernel modules cannot be built for Linux {}:\n{}",
            kernel.release(),
            String::from_utf8_lossy(&output.stderr)
        );
        let built = lab.join("module").join(kernel.release());
        Self {
            file: built.join("vsock_zerocopy.ko"),
            transport: built.join("virtio_vsock_pages.ko"),
            contract: built.join("contract"),
        }
    }
}
