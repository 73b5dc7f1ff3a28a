//! The lab: virtual machines in which tests run programs, as they run them here.
//!
//! ```text
//! Machine (kernel, memory, modules, files) ──boot──► Vm ──run, start──► Process ──finish──► Finished
//!    │ Image: busybox, our program, real ones            │ frames over a virtio serial port
//!    │ Backend: vhost-device-vsock, the host's side      ▼
//!    └─ QEMU (KVM if that works here, else TCG)       agent, in the guest
//! ```
//!
//! Kernels and modules come from Debian's archive (`tests/lab/fetch`). A guest has no network card; the harness
//! uses a serial port, and its vsock ends on this machine as Unix sockets, so no root is needed and nothing
//! of this machine's configuration changes.

#![allow(
    clippy::print_stderr,
    reason = "those who run tests learn how machines are run"
)]
#![allow(
    clippy::missing_panics_doc,
    reason = "a panic is how the lab fails a test"
)]

pub mod accel;
pub mod agent;
mod backend;
mod fetched;
mod frame;
pub mod hairpin;
mod image;
mod machine;
mod place;
mod process;
pub mod programs;
mod vm;
mod zerocopy_module;

pub use accel::Accel;
pub use backend::{Backend, Guest};
pub use fetched::{Kernel, folder};
pub use hairpin::Hairpin;
pub use image::Image;
pub use machine::{DEAF, FLOOD, Machine, TC};
pub use place::{Place, Program};
pub use process::Process;
pub use vm::Vm;
pub use zerocopy_module::ZerocopyModule;
