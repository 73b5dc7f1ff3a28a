//! The host's side of guests' vsock devices: Debian's `vhost-device-vsock`, which offers each as Unix sockets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::folder;
use iperf_harness::process::{Running, wait_for};
use iperf_harness::procfs::listens_on;

const START: Duration = Duration::from_secs(20);

/// A running `vhost-device-vsock`. Its guests can reach this machine, and each other as siblings.
#[derive(Debug)]
pub struct Backend {
    process: Running,
    guests: Vec<Guest>,
    _folder: TempDir,
}

/// The bytes that a guest may have in flight. vhost-device-vsock 0.3.0 drops packets, and never returns their credit,
/// that a guest lays out in more than one piece, as kernels since 6.17 do (and 6.12, since 2026) when they hold more than
/// this.
const AHEAD: u32 = 32 * 1024;

/// One guest's vsock.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Its CID.
    pub cid: u32,
    /// The socket file by which programs on this machine reach it: the path that `--vsock` takes.
    pub path: PathBuf,
    /// The socket to which QEMU connects its device.
    pub(super) device: PathBuf,
}

impl Backend {
    /// Starts it for guests with CIDs from 3 on, which send no packets that it would drop.
    pub fn start(guests: u32) -> Self {
        Self::start_with(guests, &format!(",tx-buffer-size={AHEAD}"))
    }

    /// The same as it is by itself: it takes and sends packets of 64 KiB, and drops those of more pieces than one.
    pub fn start_unlimited(guests: u32) -> Self {
        Self::start_with(guests, "")
    }

    fn start_with(guests: u32, options: &str) -> Self {
        let sockets = tempfile::tempdir().expect("a temporary directory");
        let at = |name: String| sockets.path().join(name);
        let guests: Vec<Guest> = (3..3 + guests)
            .map(|cid| Guest {
                cid,
                path: at(format!("vm{cid}.vsock")),
                device: at(format!("device{cid}")),
            })
            .collect();
        let mut command = Command::new(folder().join("vhost-device-vsock/vhost-device-vsock"));
        for Guest { cid, path, device } in &guests {
            let (path, device) = (path.display(), device.display());
            command.arg("--vm").arg(format!(
                "guest-cid={cid},socket={device},uds-path={path}{options},groups=lab"
            ));
        }
        let mut process = Running::start(command);
        let ready = wait_for(START, || {
            let up = guests.iter().all(|guest| listens_on(&guest.device));
            (up || !process.is_alive()).then_some(up)
        });
        assert!(
            ready == Some(true),
            "vhost-device-vsock does not start:\n{}",
            process.finish(Duration::ZERO)
        );
        Self {
            process,
            guests,
            _folder: sockets,
        }
    }

    /// A guest, counted from 0.
    pub fn guest(&self, index: usize) -> &Guest {
        &self.guests[index]
    }

    /// Whether the thread that serves the rings still runs. vhost-device-vsock 0.3.0 ends it silently when
    /// something happens on the host while no driver in the guest has the device: no ring is ready then.
    pub fn serves(&self) -> bool {
        const WORKER: &str = "vring_worker";
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id()));
        let mut names = threads
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
        names.any(|name| name.trim() == WORKER)
    }

    /// What it complained about up to now.
    pub fn complaints(&self) -> String {
        self.process.stderr_so_far()
    }
}

impl Guest {
    /// The file on which a server on this machine listens for what this guest sends to a port.
    pub fn server_file(&self, port: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!("_{port}"));
        name.into()
    }

    /// The socket file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
