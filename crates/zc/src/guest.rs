//! The driver of this machine's vsock device, if it is a guest that has one.
//!
//! The stock driver gives the device single buffers of kernel heap, from which nothing can be mapped;
//! `virtio_vsock_pages` gives it pages.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;

use socket2::SockRef;

use crate::sys::vsock;

const SYSFS: &str = "/sys/bus/virtio/devices";

/// The kind of device that vsock is (virtio 1.2, section 5.10: 19), as it begins a device's name for modprobe.
const VSOCK_DEVICE: &str = "virtio:d00000013";

/// What drives the vsock device of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Receives into single buffers (`vmw_vsock_virtio_transport`).
    Stock,
    /// Receives into pages (`virtio_vsock_pages`).
    Pages,
    /// Nothing, or something else.
    Other,
}

/// The driver of this machine's vsock device; `None` if it has no such device.
pub(crate) fn driver() -> Option<Driver> {
    driver_in(SYSFS.as_ref())
}

fn driver_in(devices: &Path) -> Option<Driver> {
    let device = fs::read_dir(devices).ok()?.flatten().find(|device| {
        let name = fs::read_to_string(device.path().join("modalias"));
        name.is_ok_and(|name| name.starts_with(VSOCK_DEVICE))
    })?;
    let driver = fs::read_link(device.path().join("driver")).unwrap_or_default();
    Some(match driver.file_name().and_then(|name| name.to_str()) {
        Some("vmw_vsock_virtio_transport" | "virtio_transport") => Driver::Stock,
        Some("virtio_vsock_pages") => Driver::Pages,
        _ => Driver::Other,
    })
}

/// Whether a connected vsock leads out of this machine, through a device whose driver receives into single buffers.
pub(crate) fn receives_into_single_buffers(socket: BorrowedFd<'_>) -> bool {
    let peer = SockRef::from(&socket).peer_addr().ok();
    let cid = peer.and_then(|address| Some(address.as_vsock_address()?.0));
    let leads_out = cid.is_some_and(|cid| {
        cid != libc::VMADDR_CID_LOCAL && vsock::local_cid().is_ok_and(|own| own != cid)
    });
    leads_out && driver() == Some(Driver::Stock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_driver_is_that_of_the_vsock_device() {
        let sys = tempfile::tempdir().unwrap();
        let devices = sys.path().join("devices");
        let add = |device: &str, name: &str, driver: Option<&str>| {
            let folder = devices.join(device);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("modalias"), format!("{name}\n")).unwrap();
            if let Some(driver) = driver {
                let _ = fs::remove_file(folder.join("driver"));
                symlink(format!("../../drivers/{driver}"), folder.join("driver")).unwrap();
            }
        };
        assert_eq!(driver_in(&devices), None);
        add(
            "virtio0",
            "virtio:d00000001v00001AF4",
            Some("virtio_vsock_pages"),
        );
        assert_eq!(driver_in(&devices), None);
        let vsock = "virtio:d00000013v00001AF4";
        add("virtio1", vsock, None);
        assert_eq!(driver_in(&devices), Some(Driver::Other));
        add("virtio1", vsock, Some("vmw_vsock_virtio_transport"));
        assert_eq!(driver_in(&devices), Some(Driver::Stock));
        add("virtio1", vsock, Some("virtio_vsock_pages"));
        assert_eq!(driver_in(&devices), Some(Driver::Pages));
    }
}
