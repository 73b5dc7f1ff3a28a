//! The cgroups of this program that may have a CPU quota: its own and those around it, of either version.
//!
//! ```text
//! /proc/self/cgroup      4:cpu,cpuacct:/a/b    or    0::/a/b
//! /proc/self/mountinfo   where that hierarchy is mounted, and which folder of it is shown there
//! MOUNT/a/b/cpu.stat     nr_periods, nr_throttled, throttled_usec (version 1: throttled_time, in ns)
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The files of these groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    files: Vec<PathBuf>,
}

/// For how long a group was held back, and in how many periods of its quota. Both are 0 without a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Throttled {
    pub(crate) time: Duration,
    pub(crate) held_periods: u64,
    pub(crate) periods: u64,
}

impl Groups {
    /// Those of this program.
    pub(crate) fn own() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let folders = folders(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let mut files: Vec<_> = folders
            .into_iter()
            .map(|path| path.join("cpu.stat"))
            .collect();
        files.retain(|file| fs::read_to_string(file).is_ok());
        Self { files }
    }

    /// What held each of them back so far.
    pub(crate) fn read(&self) -> Vec<Throttled> {
        let text = |file| fs::read_to_string(file).unwrap_or_default();
        let files = self.files.iter();
        files.map(|file| Throttled::parse(&text(file))).collect()
    }
}

impl Throttled {
    fn parse(text: &str) -> Self {
        let figure = |name: &str| -> Option<u64> {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let (_, value) = lines.find(|(key, _)| *key == name)?;
            value.trim().parse().ok()
        };
        let micros = figure("throttled_usec").map(Duration::from_micros);
        let nanos = || figure("throttled_time").map(Duration::from_nanos);
        Self {
            time: micros.or_else(nanos).unwrap_or_default(),
            held_periods: figure("nr_throttled").unwrap_or(0),
            periods: figure("nr_periods").unwrap_or(0),
        }
    }
}

/// The folders of the groups, from the innermost one outwards.
fn folders(cgroup: &str, mountinfo: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let is_first = controllers.split(',').any(|name| name == "cpu");
        if !is_first && !controllers.is_empty() {
            continue;
        }
        let Some((root, point)) = mount(mountinfo, is_first) else {
            continue;
        };
        // A container sees its own part of the hierarchy.
        let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        let below = below.strip_prefix("/").unwrap_or(below);
        for folder in below.ancestors() {
            found.push(Path::new(point).join(folder));
        }
    }
    found
}

/// Which folder of the hierarchy that controls processors is mounted, and where: version 1's, or version 2's.
fn mount(mountinfo: &str, is_first: bool) -> Option<(&str, &str)> {
    mountinfo.lines().find_map(|line| {
        // `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS … - TYPE SOURCE OPTIONS` (proc(5)).
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let (kind, options) = (file_system.next()?, file_system.nth(1)?);
        let fits = if is_first {
            kind == "cgroup" && options.split(',').any(|option| option == "cpu")
        } else {
            kind == "cgroup2"
        };
        fits.then_some((root, point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str =
        "29 28 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n";
    const SECOND: &str =
        "30 28 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    fn shown(cgroup: &str, mountinfo: &str) -> Vec<String> {
        let folders = folders(cgroup, mountinfo).into_iter();
        folders
            .map(|path| path.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn groups_of_both_versions_are_found() {
        let wanted = [
            "/sys/fs/cgroup/a.slice/b",
            "/sys/fs/cgroup/a.slice",
            "/sys/fs/cgroup/",
        ];
        assert_eq!(shown("0::/a.slice/b\n", SECOND), wanted);
        let both = format!("{FIRST}{SECOND}");
        let folders = shown("5:memory:/m\n4:cpu,cpuacct:/x\n0::/\n", &both);
        let wanted = [
            "/sys/fs/cgroup/cpu,cpuacct/x",
            "/sys/fs/cgroup/cpu,cpuacct/",
            "/sys/fs/cgroup/",
        ];
        assert_eq!(folders, wanted);
        assert!(shown("garbage\n0:\n", &both).is_empty());
        assert!(shown("0::/a\n", "").is_empty());
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_top() {
        let inside = "30 28 0:26 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
        assert_eq!(
            shown("4:cpu:/docker/abc\n", inside),
            ["/sys/fs/cgroup/cpu/"]
        );
        let nested = shown("4:cpu:/docker/abc/x\n", inside);
        assert_eq!(nested, ["/sys/fs/cgroup/cpu/x", "/sys/fs/cgroup/cpu/"]);
    }

    #[test]
    fn both_cgroup_versions_report_the_throttled_time() {
        let second = "usage_usec 5\nnr_periods 20\nnr_throttled 10\nthrottled_usec 700000\n";
        let first = "nr_periods 20\nnr_throttled 10\nthrottled_time 700000000\n";
        let wanted = Throttled {
            time: Duration::from_millis(700),
            held_periods: 10,
            periods: 20,
        };
        assert_eq!([second, first].map(Throttled::parse), [wanted; 2]);
        assert_eq!(Throttled::parse("usage_usec x\n"), Throttled::default());
    }
}
