//! Processes below a process, from `/proc`: which there are, what they listen on, and their end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The TCP state of a listening socket, and the UDP state of one that is bound and not connected.
const LISTENING: &[(&str, &str)] = &[("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")];

/// The processes below `ancestor`, without those that have ended and are not reaped yet.
pub(crate) fn descendants(ancestor: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in processes {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut below = vec![ancestor];
    while let Some(pid) = below.pop() {
        let next = children.remove(&pid).unwrap_or_default();
        found.extend(&next);
        below.extend(next);
    }
    found
}

/// The parent of a process that has not ended. The name, in parentheses, may contain anything.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then_some(())?;
    fields.next()?.parse().ok()
}

/// Sends `signal` to every process below `ancestor`.
pub(crate) fn signal_descendants(ancestor: u32, signal: Signal) {
    for pid in descendants(ancestor) {
        if let Ok(pid) = i32::try_from(pid) {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// Whether a process below `ancestor` listens on `port`, or on any port, over TCP or UDP, in any network
/// namespace.
pub(crate) fn listens(ancestor: u32, port: Option<u16>) -> bool {
    descendants(ancestor).into_iter().any(|pid| {
        let sockets = listening(pid, port);
        if sockets.is_empty() {
            return false;
        }
        match own_sockets(pid) {
            Some(own) => sockets.iter().any(|inode| own.contains(inode)),
            // Another user's process does not show its files; a given port is enough then.
            None => port.is_some(),
        }
    })
}

/// The inodes of listening sockets in the process's network namespace.
fn listening(pid: u32, port: Option<u16>) -> Vec<u64> {
    let mut inodes = Vec::new();
    for (table, state) in LISTENING {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        inodes.extend(
            text.lines()
                .skip(1)
                .filter_map(|line| socket(line, state, port)),
        );
    }
    inodes
}

/// The inode in a line of a socket table, if its state and port are these.
fn socket(line: &str, state: &str, port: Option<u16>) -> Option<u64> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, hex) = fields.get(1)?.rsplit_once(':')?;
    let bound = u16::from_str_radix(hex, 16).ok()?;
    let wanted = port.is_none_or(|port| port == bound);
    (wanted && bound != 0 && *fields.get(3)? == state)
        .then(|| fields.get(9)?.parse().ok())
        .flatten()
}

/// The inodes of a process's sockets, `None` if it does not show them.
fn own_sockets(pid: u32) -> Option<BTreeSet<u64>> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(
        files
            .flatten()
            .filter_map(|file| {
                let target = fs::read_link(file.path()).ok()?;
                target
                    .to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .parse()
                    .ok()
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_line_of_a_socket_table_has_port_state_and_inode() {
        let line = "   0: 00000000:1451 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 34567 1";
        assert_eq!(socket(line, "0A", Some(5201)), Some(34567));
        assert_eq!(socket(line, "0A", None), Some(34567));
        assert_eq!(socket(line, "0A", Some(5202)), None);
        assert_eq!(socket(line, "07", Some(5201)), None);
        for torn in ["", "0:", "0: 00000000:1451 00000000:0000 0A"] {
            assert_eq!(socket(torn, "0A", None), None, "{torn}");
        }
    }

    #[test]
    fn own_listening_sockets_are_found_by_port() {
        let tcp = TcpListener::bind("[::1]:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = own_sockets(std::process::id()).unwrap();
        for port in [
            tcp.local_addr().unwrap().port(),
            udp.local_addr().unwrap().port(),
        ] {
            let found = listening(std::process::id(), Some(port));
            assert!(
                found.iter().any(|inode| own.contains(inode)),
                "{port}: {found:?}"
            );
        }
    }

    #[test]
    fn children_of_children_are_found() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 100 & echo; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The line is printed after the fork.
        let mut line = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut line).unwrap();
        let found = descendants(shell.id());
        signal_descendants(shell.id(), Signal::SIGKILL);
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
