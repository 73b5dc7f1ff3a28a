//! Where and when figures were taken: without it they mean nothing.

use std::fs;

use serde_json::{Value, json};

/// The machine and the day.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Memory in bytes.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Whether a hypervisor is below.
    pub is_virtual: bool,
    /// The day, as `2026-01-31`.
    pub date: String,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kib: u64 = field(&meminfo, "MemTotal")
            .and_then(|value| value.trim_end_matches(" kB").parse().ok())
            .unwrap_or(0);
        Self {
            processor: field(&cpuinfo, "model name")
                .unwrap_or("unknown")
                .to_owned(),
            processors: std::thread::available_parallelism().map_or(0, Into::into),
            memory: kib * 1024,
            kernel: kernel.trim().to_owned(),
            is_virtual: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        }
    }

    /// In a line.
    pub fn line(&self) -> String {
        format!(
            "{}, {} × {}{}, {:.0} GB, Linux {}",
            self.date,
            self.processors,
            self.processor,
            if self.is_virtual {
                " (virtual machine)"
            } else {
                ""
            },
            self.memory as f64 / 1e9,
            self.kernel
        )
    }

    /// For a document.
    pub fn to_json(&self) -> Value {
        json!({
            "processor": self.processor,
            "processors": self.processors,
            "memory_bytes": self.memory,
            "kernel": self.kernel,
            "virtual": self.is_virtual,
            "date": self.date,
        })
    }
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| key.trim() == name)?;
    Some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: A CPU: the 2nd\nmodel name\t: other\n";
        assert_eq!(field(text, "model name"), Some("A CPU: the 2nd"));
        assert_eq!(field(text, "model"), None);
    }

    #[test]
    fn this_machine_has_memory_and_a_kernel() {
        let here = Machine::here();
        assert!(here.memory > 1 << 20 && here.processors > 0);
        assert!(!here.kernel.is_empty() && here.date.starts_with("20"));
    }
}
