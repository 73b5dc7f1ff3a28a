//! The address of the server, and where a server listens, from `-c`, `-B`, `-p` and `--vsock`.
//!
//! | written as | means |
//! |---|---|
//! | `-c host` | a host name or IP address |
//! | `-c 3`, `-c 3 --vsock`, `-c vsock:3`, `-c vsock:3:5201` | virtual machine 3; 2 is the host, 1 this machine |
//! | `-c s4 --vsock` | virtual machine 4 beside this one, through the host |
//! | `-c /run/vm.vsock --vsock`, `-c hybrid:/run/vm.vsock` | a guest behind its VMM's Unix socket |
//! | `-s --vsock`, `-s --vsock -B 3` | listen on `AF_VSOCK`, on any CID or that one |
//! | `-c unix:/run/vm.sock` | a guest's port to which its VMM has tied a Unix socket |
//! | `-s --vsock -B /run/vm.vsock` | listen where a VMM forwards a guest's connections: on `/run/vm.vsock_<port>` |
//! | `-s --vsock -B unix:/run/vm.sock` | listen on that socket |

use std::path::PathBuf;

use iperf_model::{CID_ANY, Endpoint, Listen, VmmSocket, VsockAddress};
use iperf_proto::Code;

use crate::error::ParameterError;

/// The endpoint that `-c` names.
pub(super) fn client(host: String, vsock: bool, port: u32) -> Result<Endpoint, ParameterError> {
    if let Some(path) = host.strip_prefix("hybrid:") {
        return hybrid(path, port);
    }
    if let Some(path) = host.strip_prefix("unix:") {
        let path = some_path(path).ok_or_else(|| bad(&host))?;
        return Ok(Endpoint::Vmm(VmmSocket::tied(path, port)));
    }
    if let Some(address) = host.strip_prefix("vsock:") {
        let (cid, port) = match address.split_once(':') {
            Some((cid, own)) => (cid, own.parse().map_err(|_| bad(&host))?),
            None => (address, port),
        };
        return guest(cid, port).ok_or_else(|| bad(&host));
    }
    // As an IP address a bare number would be in 0.0.0.0/8, which has no hosts.
    let is_number = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_digit());
    if vsock || is_number {
        return match guest(&host, port) {
            Some(endpoint) => Ok(endpoint),
            None if host.contains('/') => hybrid(&host, port),
            None => Err(bad(&host)),
        };
    }
    Ok(Endpoint::Inet {
        host,
        port: inet_port(port)?,
    })
}

/// Where `-s` listens. With `--vsock`, `bind` is taken: it is a CID or a path there.
pub(super) fn server(
    bind: &mut Option<String>,
    vsock: bool,
    port: u32,
) -> Result<Listen, ParameterError> {
    if !vsock {
        return Ok(Listen::Inet {
            port: inet_port(port)?,
        });
    }
    Ok(match bind.take() {
        None => Listen::Vsock { cid: CID_ANY, port },
        Some(text) => match text.parse() {
            Ok(cid) => Listen::Vsock { cid, port },
            Err(_) if text.starts_with("unix:") => {
                let path = some_path(&text["unix:".len()..]).ok_or_else(|| bad(&text))?;
                Listen::Vmm(VmmSocket::tied(path, port))
            }
            Err(_) if text.contains('/') => Listen::Vmm(VmmSocket::hybrid(text, port)),
            Err(_) => return Err(ParameterError::Vsock(text)),
        },
    })
}

/// A CID, or with a leading `s` that of a sibling.
fn guest(text: &str, port: u32) -> Option<Endpoint> {
    let (sibling, digits) = match text.strip_prefix('s') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let cid = digits.parse().ok()?;
    Some(Endpoint::Vsock(VsockAddress { cid, port, sibling }))
}

fn hybrid(path: &str, port: u32) -> Result<Endpoint, ParameterError> {
    let path = some_path(path).ok_or_else(|| bad("hybrid:"))?;
    Ok(Endpoint::Vmm(VmmSocket::hybrid(path, port)))
}

fn some_path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn inet_port(port: u32) -> Result<u16, ParameterError> {
    u16::try_from(port).map_err(|_| Code::PORT.into())
}

fn bad(text: &str) -> ParameterError {
    ParameterError::Vsock(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(host: &str, vsock: bool) -> Option<Endpoint> {
        client(host.to_owned(), vsock, 5201).ok()
    }

    fn vm(cid: u32, port: u32, sibling: bool) -> Endpoint {
        Endpoint::Vsock(VsockAddress { cid, port, sibling })
    }

    #[test]
    fn every_way_to_write_a_guest_is_read() {
        assert_eq!(to("3", true), Some(vm(3, 5201, false)));
        assert_eq!(to("3", false), Some(vm(3, 5201, false)));
        assert_eq!(to("vsock:3", false), Some(vm(3, 5201, false)));
        assert_eq!(
            to("vsock:3:1910445938", false),
            Some(vm(3, 1_910_445_938, false))
        );
        assert_eq!(to("s4", true), Some(vm(4, 5201, true)));
        let socket = Endpoint::Vmm(VmmSocket::hybrid("/run/vm.vsock", 5201));
        assert_eq!(to("/run/vm.vsock", true), Some(socket.clone()));
        assert_eq!(to("hybrid:/run/vm.vsock", false), Some(socket));
        let tied = Endpoint::Vmm(VmmSocket::tied("/run/vm.sock", 5201));
        assert_eq!(to("unix:/run/vm.sock", false), Some(tied.clone()));
        assert_eq!(to("unix:/run/vm.sock", true), Some(tied));
    }

    #[test]
    fn other_texts_are_host_names_or_refused() {
        let inet = |host: &str| {
            Some(Endpoint::Inet {
                host: host.to_owned(),
                port: 5201,
            })
        };
        for host in ["example.org", "10.0.0.2", "fe80::1%eth0", "s4", ""] {
            assert_eq!(to(host, false), inet(host));
        }
        for (host, vsock) in [
            ("example.org", true),
            ("vsock:x", false),
            ("vsock:3:x", false),
            ("hybrid:", false),
            ("unix:", false),
        ] {
            assert_eq!(to(host, vsock), None, "{host}");
        }
    }

    #[test]
    fn a_server_listens_on_the_address_of_b() {
        let on = |bind: Option<&str>| server(&mut bind.map(str::to_owned), true, 9).ok();
        assert_eq!(
            on(None),
            Some(Listen::Vsock {
                cid: CID_ANY,
                port: 9
            })
        );
        assert_eq!(on(Some("3")), Some(Listen::Vsock { cid: 3, port: 9 }));
        let socket = Listen::Vmm(VmmSocket::hybrid("/run/vm.vsock", 9));
        assert_eq!(on(Some("/run/vm.vsock")), Some(socket));
        let tied = Listen::Vmm(VmmSocket::tied("/run/vm.sock", 9));
        assert_eq!(on(Some("unix:/run/vm.sock")), Some(tied));
        assert_eq!(on(Some("unix:")), None);
        assert_eq!(on(Some("eth0")), None);
    }

    #[test]
    fn a_port_of_32_bits_is_for_vsock_only() {
        assert!(client("3".to_owned(), true, 70_000).is_ok());
        assert!(client("host".to_owned(), false, 70_000).is_err());
        assert!(server(&mut None, false, 70_000).is_err());
    }
}
