//! The description of a virtual machine, and the command line that starts it.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::backend::Guest;
use super::fetched::load_order;
use super::programs::{self, read};
use super::{Accel, Hairpin, Image, Kernel, Vm, ZerocopyModule, agent, folder};
use iperf_harness::{Peer, workspace};

/// What drives a guest's vsock device in a stock kernel.
const STOCK_TRANSPORT: &str = "vmw_vsock_virtio_transport";

/// A machine to be started. Commands find in it our program as `iperf`, real ones as `iperf3-old` and `iperf3-new`,
/// and those of `LAB_EXTRA` (paths, separated by colons) under `/extra`.
#[derive(Clone, Debug)]
pub struct Machine {
    kernel: Kernel,
    memory_mib: u32,
    vsock: Option<PathBuf>,
    vsock_options: &'static str,
    link: Option<u32>,
    modules: Vec<String>,
    own_modules: Vec<(String, Vec<u8>)>,
    options: Vec<String>,
    image: Image,
    accel: Option<Accel>,
}

impl Machine {
    /// A machine with vsock's loopback and 512 MiB of memory.
    pub fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            memory_mib: 512,
            vsock: None,
            vsock_options: "",
            link: None,
            modules: vec!["vsock_loopback".to_owned()],
            own_modules: Vec::new(),
            options: Vec::new(),
            image: Image::new(),
            accel: None,
        }
    }

    /// Memory, in MiB.
    pub fn memory(self, memory_mib: u32) -> Self {
        Self { memory_mib, ..self }
    }

    /// A vsock device, which ends at a backend on this machine.
    pub fn vsock(self, guest: &Guest) -> Self {
        let device = Self {
            vsock: Some(guest.device.clone()),
            ..self
        };
        device.load(STOCK_TRANSPORT)
    }

    /// A vsock device of the lab's own. All of its queues have one interrupt.
    pub fn hairpin(self, device: &Hairpin) -> Self {
        let device = Self {
            vsock: Some(device.device()),
            vsock_options: ",vectors=0",
            ..self
        };
        device.load(STOCK_TRANSPORT)
    }

    /// Two network cards with a cable between them, `eth0` and `eth1`. Both report this speed, in Mbit/s, which nothing
    /// keeps to.
    pub fn cable(self, mbps: u32) -> Self {
        let cards = Self {
            link: Some(mbps),
            ..self
        };
        cards.load("virtio_net")
    }

    /// No module is loaded but those that are named from here on.
    pub fn bare(self) -> Self {
        Self {
            modules: Vec::new(),
            ..self
        }
    }

    /// Loads a module of the kernel's package, and those it needs. Which there are is written in `tests/lab/fetch`.
    pub fn load(mut self, module: &str) -> Self {
        self.modules.push(module.to_owned());
        self
    }

    /// Loads a module from a file, after all others.
    pub fn load_file(mut self, file: &Path) -> Self {
        let name = file.file_stem().expect("a module has a name");
        let name = name.to_string_lossy().into_owned();
        self.own_modules.push((name, read(file)));
        self
    }

    /// A guest that receives into pages, and maps them: our transport instead of the stock one, and `vsock_zerocopy`.
    pub fn zerocopy(mut self, built: &ZerocopyModule) -> Self {
        self.modules.retain(|name| name != STOCK_TRANSPORT);
        self.load_file(&built.transport).load_file(&built.file)
    }

    /// An option on the kernel's command line.
    pub fn kernel_option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// [`TC`], and the module `sch_netem`, which loses datagrams.
    pub fn netem(mut self) -> Self {
        programs::add_unpacked(&mut self.image, &folder().join("tc"), "tc", "/tools/tc");
        self.load("sch_netem")
    }

    /// A file, which can also be run.
    pub fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.image.file(path, bytes);
        self
    }

    /// A program of this machine, with its libraries.
    pub fn program(mut self, program: &Path, path: &str) -> Self {
        programs::add(&mut self.image, program, path);
        self
    }

    /// Time in it passes by instructions, one each nanosecond, and by the clock while it has nothing to do.
    pub fn counting_instructions(self) -> Self {
        let accel = Some(Accel::Instructions);
        Self { accel, ..self }
    }

    /// Starts it and waits until it runs commands.
    pub fn boot(&self) -> Vm {
        Vm::boot(self, self.accel.unwrap_or_else(Accel::best))
    }

    /// The kernel.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Everything that the guest's root holds, packed.
    pub(super) fn initramfs(&self) -> Vec<u8> {
        let mut image = self.image.clone();
        for folder in ["dev", "proc", "sys", "tmp", "root", "run", "var/run"] {
            image.folder(folder);
        }
        image.file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        image.file("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
        image.file("/etc/nsswitch.conf", "hosts: files\n");
        image.file("/bin/busybox", read(&busybox()));
        add_programs(&mut image);
        let mut modules = load_order(self.kernel, &self.modules);
        modules.extend(self.own_modules.iter().cloned());
        let names = modules.iter().map(|(name, _)| name.as_str());
        image.file("/init", init(&names.collect::<Vec<_>>()));
        for (name, bytes) in modules {
            image.file(format!("/lab/modules/{name}.ko"), bytes);
        }
        image.pack()
    }

    /// QEMU with this machine; the folder holds what it reads and writes.
    pub(super) fn command(&self, accel: Accel, files: &Files) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        let memory = self.memory_mib;
        let mut args = vec![
            "-machine q35,memory-backend=memory".to_owned(),
            // A vhost-user backend maps the guest's memory.
            format!("-object memory-backend-memfd,id=memory,share=on,size={memory}M"),
            format!("-m {memory} -smp {} {}", processors(), accel.options()),
            "-display none -monitor none -no-reboot -nic none -no-user-config".to_owned(),
            "-device virtio-serial-pci -device virtserialport,chardev=line".to_owned(),
        ];
        let path = |path: &Path| path.to_string_lossy().replace(',', ",,");
        if let Some(device) = &self.vsock {
            let device = path(device);
            args.push(format!("-chardev socket,id=vsock,path={device}"));
            let options = self.vsock_options;
            args.push(format!(
                "-device vhost-user-vsock-pci,chardev=vsock{options}"
            ));
        }
        for card in 0..self.link.map_or(0, |_| 2) {
            let mbps = self.link.unwrap_or_default();
            args.push(format!("-netdev hubport,hubid=1,id=net{card}"));
            args.push(format!(
                "-device virtio-net-pci,netdev=net{card},romfile=,speed={mbps},duplex=full"
            ));
        }
        command.args(args.iter().flat_map(|line| line.split_whitespace()));
        command
            .arg("-chardev")
            .arg(format!("socket,id=line,path={}", path(&files.line)))
            .arg("-serial")
            .arg(format!("file:{}", path(&files.console)))
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(&files.initramfs)
            .arg("-append")
            .arg([KERNEL_OPTIONS, &self.options.join(" "), &more_options()].join(" "));
        command
    }
}

/// The kernel's first test of its timer takes interrupts that come late, as they do where many machines are emulated,
/// for none, and panics. After a panic the machine ends.
const KERNEL_OPTIONS: &str = "console=ttyS0 quiet panic=-1 no_timer_check";

/// The processors of each machine: `LAB_PROCESSORS`, or one. Each that is emulated keeps a real one busy.
fn processors() -> u32 {
    let wanted = env::var("LAB_PROCESSORS").ok();
    wanted.map_or(1, |number| {
        number
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .unwrap_or_else(|| panic!("LAB_PROCESSORS is {number}: it is a number from 1 on"))
    })
}

/// What `LAB_KERNEL_OPTIONS` adds to each kernel's command line; a kernel that checks itself needs some.
fn more_options() -> String {
    env::var("LAB_KERNEL_OPTIONS").unwrap_or_default()
}

/// The programs of every machine.
fn add_programs(image: &mut Image) {
    // It is the agent when it is called so.
    programs::add(image, &workspace::program("iperf-lab", "lab"), AGENT);
    image.link(FLOOD, AGENT);
    image.link(DEAF, AGENT);
    programs::add(image, Peer::Ours.path(), "/bin/iperf");
    for peer in iperf_harness::peer::REAL {
        let unpacked = peer.path().parent().expect("it lies in a folder");
        programs::add_unpacked(image, unpacked, "iperf3", &format!("/peers/{peer}"));
        image.link(
            format!("/bin/iperf3-{peer}"),
            &format!("/peers/{peer}/iperf3"),
        );
    }
    let extra = env::var_os("LAB_EXTRA").unwrap_or_default();
    for program in env::split_paths(&extra).filter(|path| !path.as_os_str().is_empty()) {
        let name = program.file_name().expect("a program has a name");
        programs::add(
            image,
            &program,
            &format!("/extra/{}", name.to_string_lossy()),
        );
    }
}

/// The files by which QEMU and the harness share a machine.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) line: PathBuf,
    pub(super) console: PathBuf,
    pub(super) initramfs: PathBuf,
}

/// `tc` in a guest. The bare name runs the shell's own, which can do little.
pub const TC: &str = "/tools/tc/tc";

/// In a guest, a program that makes connections and sends nothing: `FLOOD CID PORT NUMBER`.
pub const FLOOD: &str = "/lab/lab-flood";

/// In a guest, a program that accepts connections over vsock and never reads: `DEAF PORT`.
pub const DEAF: &str = "/lab/lab-deaf";

const AGENT: &str = "/lab/lab-agent";

/// The first process: it mounts, loads, and starts the agent; when that ends the machine is switched off.
fn init(modules: &[&str]) -> String {
    let mut script = String::from(
        "#!/bin/busybox sh\n\
        /bin/busybox --install -s /bin\n\
        export PATH=/bin:/extra HOME=/root LC_ALL=C\n\
        mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
        mount -t tmpfs tmp /tmp; mkdir -p /dev/shm /dev/pts; mount -t tmpfs shm /dev/shm\n\
        ip link set lo up\n\
        fail() { echo \"lab: $*\"; poweroff -f; }\n",
    );
    for module in modules {
        let _ = writeln!(
            script,
            "insmod /lab/modules/{module}.ko || fail 'the module {module} cannot be loaded'"
        );
    }
    let _ = writeln!(
        script,
        "while [ ! -c {port} ]; do usleep 10000; done\n{AGENT}\nfail 'the agent has ended'",
        port = agent::PORT
    );
    script
}

fn busybox() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|folder| folder.join("busybox"))
        .find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("busybox is missing: apt-get install busybox-static"))
}
