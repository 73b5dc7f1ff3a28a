//! Processors, memory, clock, hypervisor and container, by `/proc` and `/sys`.

use std::thread::available_parallelism;

use iperf_model::Environment;
use nix::sys::utsname::uname;

use super::files::{Files, fact};

/// The content of the files, without interface and settings.
pub(super) fn read(files: &Files) -> Environment {
    let cpuinfo = files.text("proc/cpuinfo").unwrap_or_default();
    Environment {
        kernel: kernel(),
        cpu: cpu(files, &cpuinfo),
        cpus: files
            .line("sys/devices/system/cpu/online")
            .and_then(|list| count(&list)),
        cpus_usable: available_parallelism()
            .ok()
            .and_then(|n| n.get().try_into().ok()),
        governor: files.line("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        virtualization: virtualization(files, &cpuinfo),
        container: container(files),
        clocksource: files.line(&format!("{CLOCKS}/current_clocksource")),
        memory_bytes: memory(&files.text("proc/meminfo").unwrap_or_default()),
        ..Environment::default()
    }
}

const CLOCKS: &str = "sys/devices/system/clocksource/clocksource0";

fn kernel() -> Option<String> {
    let names = uname().ok()?;
    let (system, release) = (names.sysname().to_str()?, names.release().to_str()?);
    fact(&format!("{system} {release}"))
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    fact(value)
}

/// The model of the processor: x86 names it, Arm gives numbers, and small machines have a name as a whole.
fn cpu(files: &Files, cpuinfo: &str) -> Option<String> {
    field(cpuinfo, "model name")
        .or_else(|| {
            let part = field(cpuinfo, "CPU part")?;
            let implementer = field(cpuinfo, "CPU implementer")?;
            Some(format!("implementer {implementer} part {part}"))
        })
        .or_else(|| field(cpuinfo, "cpu"))
        .or_else(|| field(cpuinfo, "uarch"))
        .or_else(|| files.line("proc/device-tree/model"))
}

/// How many numbers a list as `0-3,8` has.
fn count(list: &str) -> Option<u64> {
    list.split(',').try_fold(0_u64, |all, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        all.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

fn memory(meminfo: &str) -> Option<u64> {
    let kibibytes = field(meminfo, "MemTotal")?;
    let kibibytes: u64 = kibibytes.strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// What firmware calls itself or the machine, and the hypervisor that this means.
const VENDORS: [(&str, &str); 11] = [
    ("amazon", "amazon"),
    ("google", "google"),
    ("microsoft corporation virtual", "microsoft"),
    ("vmware", "vmware"),
    ("virtualbox", "oracle"),
    ("innotek", "oracle"),
    ("bhyve", "bhyve"),
    ("parallels", "parallels"),
    ("xen", "xen"),
    ("kvm", "kvm"),
    ("qemu", "qemu"),
];

/// The hypervisor. A guest is recognised by its clocks or firmware, or at least by a flag of the processor.
fn virtualization(files: &Files, cpuinfo: &str) -> Option<String> {
    let clocks = files
        .line(&format!("{CLOCKS}/available_clocksource"))
        .unwrap_or_default();
    let clock = |name: &str| {
        clocks
            .split_whitespace()
            .any(|clock| clock.starts_with(name))
    };
    let flags = field_words(cpuinfo, "flags");
    let guest = flags.iter().any(|flag| flag == "hypervisor");
    // Bare metal of a cloud has the cloud's firmware, too.
    let x86 = !flags.is_empty();
    let vendor = ["sys_vendor", "product_name", "board_vendor", "bios_vendor"]
        .map(|name| {
            files
                .line(&format!("sys/class/dmi/id/{name}"))
                .unwrap_or_default()
        })
        .join(" ")
        .to_lowercase();
    let known = if clock("kvm-clock") {
        Some("kvm")
    } else if clock("hyperv_clocksource") {
        Some("microsoft")
    } else if clock("xen") || files.exists("sys/hypervisor/type") {
        Some("xen")
    } else {
        let found = VENDORS.iter().find(|(part, _)| vendor.contains(part));
        found.map(|(_, name)| *name).filter(|_| guest || !x86)
    };
    match (known, guest) {
        (Some(name), _) => Some(name.to_owned()),
        (None, true) => Some("vm".to_owned()),
        (None, false) => x86.then(|| "none".to_owned()),
    }
}

/// The words of the first line `name : words`, of which there may be any number.
fn field_words(text: &str, name: &str) -> Vec<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(key, _)| key.trim() == name);
    let words = found.map(|(_, value)| value.split_whitespace());
    words.into_iter().flatten().map(str::to_owned).collect()
}

/// What the program is contained in, by the marks that container managers leave.
fn container(files: &Files) -> Option<String> {
    if let Some(name) = files.line("run/systemd/container") {
        return Some(name);
    }
    let marks = [
        (".dockerenv", "docker"),
        ("run/.containerenv", "podman"),
        ("dev/lxd/sock", "lxc"),
        ("dev/.lxc-boot-id", "lxc"),
        ("var/run/secrets/kubernetes.io", "kubernetes"),
    ];
    let mark = marks.iter().find(|(path, _)| files.exists(path));
    mark.map(|(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::files::tests::tree;
    use super::*;

    const GUEST: &str =
        "processor : 0\nmodel name\t: Xeon @ 2.70GHz\nflags\t\t: fpu hypervisor sse\n";
    const METAL: &str = "processor : 0\nmodel name\t: EPYC 9B14\nflags\t\t: fpu sse\n";
    const CLOCK_FILE: &str = "sys/devices/system/clocksource/clocksource0/available_clocksource";

    fn virtualization_of(tree_files: &[(&str, &str)]) -> Option<String> {
        let (_directory, files) = tree(tree_files);
        read(&files).virtualization
    }

    #[test]
    fn a_machine_is_described_by_its_files() {
        let (_directory, files) = tree(&[
            ("proc/cpuinfo", METAL),
            ("proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n"),
            ("sys/devices/system/cpu/online", "0-3,8\n"),
            (
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                "performance\n",
            ),
            (
                "sys/devices/system/clocksource/clocksource0/current_clocksource",
                "tsc\n",
            ),
            (".dockerenv", ""),
        ]);
        let facts = read(&files);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(facts.cpu, text("EPYC 9B14"));
        assert_eq!((facts.cpus, facts.memory_bytes), (Some(5), Some(16 << 20)));
        assert_eq!(facts.governor, text("performance"));
        assert_eq!(facts.clocksource, text("tsc"));
        assert_eq!(facts.virtualization, text("none"));
        assert_eq!(facts.container, text("docker"));
    }

    #[test]
    fn a_hypervisor_is_found_by_clock_firmware_or_flag() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (
                &[("proc/cpuinfo", GUEST), (CLOCK_FILE, "kvm-clock tsc\n")],
                "kvm",
            ),
            (
                &[
                    ("proc/cpuinfo", GUEST),
                    (CLOCK_FILE, "hyperv_clocksource_tsc_page\n"),
                ],
                "microsoft",
            ),
            (
                &[
                    ("proc/cpuinfo", GUEST),
                    ("sys/class/dmi/id/sys_vendor", "VMware, Inc.\n"),
                ],
                "vmware",
            ),
            (&[("proc/cpuinfo", GUEST)], "vm"),
            // Arm has no flag, and only a guest has QEMU's firmware.
            (
                &[
                    ("proc/cpuinfo", "CPU part : 0xd0c\n"),
                    ("sys/class/dmi/id/sys_vendor", "QEMU"),
                ],
                "qemu",
            ),
            // A cloud's bare metal.
            (
                &[
                    ("proc/cpuinfo", METAL),
                    ("sys/class/dmi/id/sys_vendor", "Amazon EC2"),
                ],
                "none",
            ),
        ];
        for (files, want) in cases {
            assert_eq!(virtualization_of(files).as_deref(), Some(want), "{files:?}");
        }
        assert_eq!(virtualization_of(&[]), None, "nothing is known");
    }

    #[test]
    fn odd_files_are_no_facts() {
        for odd in [
            "",
            "a",
            "3-1",
            "0-18446744073709551615,0-18446744073709551615",
            "0-",
        ] {
            assert_eq!(count(odd), None, "{odd}");
        }
        for odd in [
            "",
            "MemTotal: x kB",
            "MemTotal: 18446744073709551615 kB",
            "MemTotal: 5",
        ] {
            assert_eq!(memory(odd), None, "{odd}");
        }
        let (_directory, files) = tree(&[]);
        let facts = read(&files);
        assert_eq!(
            (facts.cpu, facts.cpus, facts.memory_bytes),
            (None, None, None)
        );
    }
}
