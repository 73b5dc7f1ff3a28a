//! Request/response cases in the words of other tools, and in those of the bare loop of system calls. All print, or are read as, whole round trips.

use crate::cases::Ground;
use crate::programs::{Commands, Program};

/// Tools that have such tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Sockperf,
    Qperf,
    Netperf,
    Neper,
    /// `bare_loop`.
    Loop,
}

/// What a case requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exchange<'a> {
    /// Bytes of a request and of its response.
    size: &'a str,
    udp: bool,
    connections: &'a str,
}

impl<'a> Exchange<'a> {
    /// `None` if a case is of another kind, or requires more.
    pub(crate) fn of(words: &[&'a str]) -> Option<Self> {
        let size = words.iter().find_map(|word| word.strip_prefix("--rr="))?;
        let mut exchange = Self {
            size,
            udp: false,
            connections: "1",
        };
        let mut rest = words.iter().filter(|word| !word.starts_with("--rr="));
        while let Some(word) = rest.next() {
            match *word {
                "-u" => exchange.udp = true,
                "-P" => exchange.connections = rest.next()?,
                _ => return None,
            }
        }
        Some(exchange)
    }

    /// How `program` runs it; `None` if it has no such test.
    pub(crate) fn commands(
        &self,
        program: &Program,
        ground: Ground,
        (port, second): (u16, u16),
        seconds: u32,
    ) -> Option<Commands> {
        let Self { size, udp, .. } = self;
        let tool = program.exchange_tool()?;
        if ground == Ground::Vsock && tool != Tool::Loop {
            return None;
        }
        if tool != Tool::Neper && self.connections != "1" {
            return None;
        }
        let own = |name: &str| program.beside(name);
        let (client, server) = match tool {
            Tool::Loop => {
                let at = match ground {
                    Ground::Vsock => format!("vsock 1 {port} {size}"),
                    _ if *udp => return None,
                    _ => format!("tcp 127.0.0.1 {port} {size}"),
                };
                let tool = program.itself();
                (
                    format!("{tool} client {at} {seconds}"),
                    format!("{tool} server {at}"),
                )
            }
            Tool::Sockperf => {
                let (tool, tcp) = (own("sockperf"), if *udp { "" } else { " --tcp" });
                (
                    format!(
                        "{tool} ping-pong{tcp} -i 127.0.0.1 -p {port} -t {seconds} -m {size} --full-rtt"
                    ),
                    // Connections of the run before leave their port behind.
                    format!("{tool} server{tcp} --uc-reuseaddr -i 127.0.0.1 -p {port}"),
                )
            }
            Tool::Qperf => {
                let (tool, test) = (own("qperf"), if *udp { "udp_lat" } else { "tcp_lat" });
                (
                    format!("{tool} -lp {port} -t {seconds} -m {size} 127.0.0.1 {test}"),
                    format!("{tool} -lp {port}"),
                )
            }
            Tool::Netperf => {
                let test = if *udp { "UDP_RR" } else { "TCP_RR" };
                let figures =
                    "THROUGHPUT,THROUGHPUT_UNITS,ELAPSED_TIME,MEAN_LATENCY,P50_LATENCY,P99_LATENCY";
                (
                    format!(
                        "{} -H 127.0.0.1 -p {port} -t {test} -l {seconds} -j -- -r {size},{size} -k {figures}",
                        own("netperf")
                    ),
                    format!("{} -D -4 -p {port}", own("netserver")),
                )
            }
            Tool::Neper => {
                let tool = own(if *udp { "udp_rr" } else { "tcp_rr" });
                let count = self.connections;
                let both = format!(
                    "--nolog -C {port} -P {second} -F {count} -T {count} -l {seconds} -Q {size} -R {size}"
                );
                (
                    format!("{tool} -c -H 127.0.0.1 {both} -p 50,99"),
                    format!("{tool} {both}"),
                )
            }
        };
        Some(Commands { client, server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_says_what_is_exchanged() {
        let of = |args: &'static str| {
            let words: Vec<&str> = args.split(' ').collect();
            Exchange::of(&words)
        };
        let exchange = of("--rr=14 -u -P 4").unwrap();
        assert_eq!(
            (exchange.size, exchange.udp, exchange.connections),
            ("14", true, "4")
        );
        assert_eq!(of("--rr=14 -R"), None);
        assert_eq!(of("-P 4"), None);
    }
}
