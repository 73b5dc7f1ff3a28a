//! The tools with results that can be read.

use std::str::FromStr;

use serde::Serialize;

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the tools'")]
pub enum Tool {
    Iperf,
    Iperf3,
    Riperf3,
    IperfVsock,
    Iperf2,
    Uperf,
    Netperf,
    Neper,
    Sockperf,
    Qperf,
    Nuttcp,
    Ntttcp,
    VsockPerf,
    /// A published table.
    Table,
}

impl Tool {
    /// All tools, in the order of the help.
    pub const ALL: [Self; 14] = [
        Self::Iperf,
        Self::Iperf3,
        Self::Riperf3,
        Self::IperfVsock,
        Self::Iperf2,
        Self::Uperf,
        Self::Netperf,
        Self::Neper,
        Self::Sockperf,
        Self::Qperf,
        Self::Nuttcp,
        Self::Ntttcp,
        Self::VsockPerf,
        Self::Table,
    ];

    /// The name, as `--as` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iperf => "iperf",
            Self::Iperf3 => "iperf3",
            Self::Riperf3 => "riperf3",
            Self::IperfVsock => "iperf-vsock",
            Self::Iperf2 => "iperf2",
            Self::Uperf => "uperf",
            Self::Netperf => "netperf",
            Self::Neper => "neper",
            Self::Sockperf => "sockperf",
            Self::Qperf => "qperf",
            Self::Nuttcp => "nuttcp",
            Self::Ntttcp => "ntttcp",
            Self::VsockPerf => "vsock_perf",
            Self::Table => "table",
        }
    }
}

impl FromStr for Tool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|tool| tool.name() == text)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
                format!("no tool {text}; one of {}", names.join(", "))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_named_as_it_names_itself() {
        for tool in Tool::ALL {
            assert_eq!(tool.name().parse(), Ok(tool));
        }
        assert!("iperf4".parse::<Tool>().unwrap_err().contains("vsock_perf"));
    }
}
