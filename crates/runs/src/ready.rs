//! When a server is ready: by its port, or by what it prints.

use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;
use crate::running::{Running, Waited};
use crate::tree::listens;

/// How long a server may take to be ready.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// How often readiness is checked.
const EVERY: Duration = Duration::from_millis(5);

/// The sign that a server is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// One of its processes listens on this port.
    Port(u16),
    /// One of its processes listens on any port.
    AnyPort,
    /// It has printed this.
    Text(String),
}

impl FromStr for Ready {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a port or a text that the server prints when it is ready".into());
        }
        match text.parse::<u64>() {
            Ok(port) => match u16::try_from(port) {
                Ok(port) if port > 0 => Ok(Self::Port(port)),
                _ => Err(format!("{port} is no port, which are 1 to 65535")),
            },
            Err(_) => Ok(Self::Text(text.to_owned())),
        }
    }
}

impl Ready {
    /// The port on a server's own command line, as `-p 5201`, `-p5201`, `--port` or `--server-port`.
    pub fn of_command(command: &str) -> Self {
        let words: Vec<&str> = command.split_ascii_whitespace().collect();
        let value = |at: usize| -> Option<&str> {
            let word = words[at];
            for name in ["-p", "--port", "--server-port"] {
                if word == name {
                    return words.get(at + 1).copied();
                }
                let rest = word.strip_prefix(name);
                if let Some(rest) = rest.filter(|_| name == "-p") {
                    return Some(rest);
                }
                if let Some(rest) = rest.and_then(|rest| rest.strip_prefix('=')) {
                    return Some(rest);
                }
            }
            None
        };
        (0..words.len())
            .filter_map(value)
            .filter_map(|port| port.parse().ok())
            .find(|port| *port > 0)
            .map_or(Self::AnyPort, Self::Port)
    }

    fn is_there(&self, server: &Running) -> bool {
        match self {
            Self::Port(port) => listens(server.id(), Some(*port)),
            Self::AnyPort => listens(server.id(), None),
            Self::Text(text) => server.has_printed(text.as_bytes()),
        }
    }

    /// What is waited for, in words.
    fn words(&self) -> String {
        match self {
            Self::Port(port) => format!("listened on port {port}"),
            Self::AnyPort => "listened on a port (--ready names the text it prints)".into(),
            Self::Text(text) => format!("printed \"{text}\""),
        }
    }

    /// Waits until `server` is ready; `Ok(false)` after an interrupt.
    pub(crate) fn wait(
        &self,
        server: &mut Running,
        within: Duration,
        interrupt: &Interrupt,
    ) -> Result<bool, String> {
        let deadline = Instant::now() + within;
        loop {
            if interrupt.requested().is_some() {
                return Ok(false);
            }
            if self.is_there(server) {
                return Ok(true);
            }
            match server.poll(EVERY) {
                // Its last words may be those.
                Some(Waited::Ended(report)) => {
                    return Err(format!(
                        "the server {} before it {}",
                        report.ending(),
                        self.words()
                    ));
                }
                Some(_) => return Err("the server's supervisor was killed".into()),
                None => {}
            }
            if Instant::now() >= deadline {
                let seconds = within.as_secs_f64();
                return Err(format!(
                    "the server has not {} within {seconds} s",
                    self.words()
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_command() {
        for (command, ready) in [
            ("iperf3 -s", Ready::AnyPort),
            ("iperf3 -s -p 7000", Ready::Port(7000)),
            ("iperf3 -s -p7000 -1", Ready::Port(7000)),
            ("iperf -s --port=7001", Ready::Port(7001)),
            ("iperf -s --server-port 7001", Ready::Port(7001)),
            ("netserver -D -p x", Ready::AnyPort),
            ("server -p", Ready::AnyPort),
            ("server -p 0", Ready::AnyPort),
        ] {
            assert_eq!(Ready::of_command(command), ready, "{command}");
        }
    }

    #[test]
    fn a_number_is_a_port_and_all_else_a_text() {
        assert_eq!("5201".parse(), Ok(Ready::Port(5201)));
        assert_eq!("listening".parse(), Ok(Ready::Text("listening".into())));
        assert!("70000".parse::<Ready>().unwrap_err().contains("1 to 65535"));
        assert!("0".parse::<Ready>().is_err() && "".parse::<Ready>().is_err());
    }
}
