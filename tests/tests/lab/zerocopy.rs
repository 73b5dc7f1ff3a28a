//! Zero-copy over vsock, with the kernel module and without it: both ends account for every byte, and each of them
//! is the right one.
//!
//! ```text
//! no module   rx copies, and reports that the device is missing
//! module      loopback: rx maps what was written in packets of 32 KiB and more; else it copies, and reports why
//!             host and guest: rx copies; what a guest sends is not copied in the guest
//! ```

use std::fmt;
use std::time::Duration;

use iperf_harness::json::{at, documents, int, list, text};
use iperf_harness::{Finished, Problems};
use iperf_lab::{Backend, Kernel, Machine, Process, Vm, ZerocopyModule, programs};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::encounter::Route;
use super::modes::{to_guest, to_host};

/// Emulated, beside another machine.
const LIMIT: Duration = Duration::from_secs(60);

const MODULE: &str = "/vsock_zerocopy.ko";

/// How one side of the streams is to have moved its bytes.
#[derive(Clone, Copy)]
struct Side {
    used: &'static str,
    /// The least and the most that is not copied, in percent.
    uncopied: (f64, f64),
    /// Part of the reason; nothing for no reason.
    reason: &'static str,
}

const fn all(used: &'static str) -> Side {
    Side {
        used,
        uncopied: (99.0, 100.0),
        reason: "",
    }
}

/// Falls back.
const fn none(used: &'static str, reason: &'static str) -> Side {
    Side {
        used,
        uncopied: (0.0, 0.0),
        reason,
    }
}

/// The least that a sender by `MSG_ZEROCOPY` does not copy, in percent, when the receiver's credit ended within blocks:
/// the kernel copies what it can't send whole (`virtio_transport_can_zcopy`, virtio_transport_common.c), and reports it.
const SOME_CUT: f64 = 1.0;
const CUT: &str = "the kernel copies blocks that do not fit whole into the receiver's buffer";

const MAPPED: Side = all("mmap");
/// The mode of `-Z` when the receiver maps: one copy, and the receiver avoids the other.
const COPIED_TO_BE_MAPPED: Side = none("copy", "the receiver maps what is copied once");
const NO_MODULE: Side = none(
    "copy",
    "this kernel does not map vsock data, and /dev/vsock-zerocopy: No such file or directory",
);
const SMALL_PACKETS: Side = none("copy", "only 0 % could be mapped: the packets are not");
const SINGLE_BUFFERS: Side = none(
    "copy",
    "the guest's driver receives into single buffers: load virtio_vsock_pages",
);
const SENDERS_PAGES: Side = none("copy", "uses MSG_ZEROCOPY, whose pages cannot be mapped");
/// Fewer bytes than the program copies before it stops trying.
const TRIED: Side = none("mmap", "");

/// A test, and what is to come of it.
struct Row {
    args: &'static str,
    sender: Side,
    receiver: Side,
    /// Part of the error with which it fails.
    error: Option<&'static str>,
}

const fn row(args: &'static str, sender: Side, receiver: Side) -> Row {
    Row {
        args,
        sender,
        receiver,
        error: None,
    }
}

impl Row {
    const fn failing(self, error: &'static str) -> Self {
        Self {
            error: Some(error),
            ..self
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.args)
    }
}

const WITHOUT_MODULE: [Row; 2] = [
    row("-Z --verify -n 2M", all("msg"), NO_MODULE),
    row("-Z --zerocopy-strict -n 2M", all("msg"), NO_MODULE)
        .failing("zero-copy (mmap) was requested, but the receiver copied 100.0 % by copy: this"),
];

const WITH_MODULE: [Row; 15] = [
    row("-Z --verify -n 8M -l 32K", COPIED_TO_BE_MAPPED, MAPPED),
    row("-Z --verify -n 8M -l 64K", COPIED_TO_BE_MAPPED, MAPPED),
    row("-Z --verify -n 8M -l 128K", COPIED_TO_BE_MAPPED, MAPPED),
    row("-Z --verify -n 8M -l 1M", COPIED_TO_BE_MAPPED, MAPPED),
    row("-Z --verify -n 8M -l 2M", COPIED_TO_BE_MAPPED, MAPPED),
    row("-Z --verify -n 8M -R", COPIED_TO_BE_MAPPED, MAPPED),
    row("-Z --verify -n 8M --bidir", COPIED_TO_BE_MAPPED, MAPPED),
    row("-Z --verify -n 16M -P 4", COPIED_TO_BE_MAPPED, MAPPED),
    row(
        "-Z --verify -n 10M -l 4K",
        COPIED_TO_BE_MAPPED,
        SMALL_PACKETS,
    ),
    row("--zerocopy=msg --verify -n 10M", all("msg"), SENDERS_PAGES),
    // Not for receivers of messages: --zerocopy-rx is refused with them.
    row(
        "--seqpacket -Z --verify -n 2M",
        all("msg"),
        none("copy", ""),
    ),
    row(
        "--zerocopy=sendfile --verify -n 4M",
        none("sendfile", "copies what sendfile carries over vsock"),
        MAPPED,
    ),
    row(
        "--zerocopy-rx=mmap --verify -n 4M -P 2 -R",
        none("copy", ""),
        MAPPED,
    ),
    row(
        "-Z --zerocopy-strict -n 4M -l 64K",
        COPIED_TO_BE_MAPPED,
        MAPPED,
    ),
    row(
        "-Z --zerocopy-strict -n 2M -l 4K",
        COPIED_TO_BE_MAPPED,
        TRIED,
    )
    .failing("zero-copy (mmap) was requested, but the receiver copied 100.0 % by mmap"),
];

/// A server of the guest, for one test after another.
struct Server {
    process: Process,
    seen: usize,
}

impl Server {
    fn start(vm: &Vm) -> Self {
        let process = vm.start("exec iperf -s --vsock -J");
        Self { process, seen: 0 }
    }

    /// Its document of the test that has just ended at the client.
    fn next_document(&mut self) -> Result<Value, String> {
        let document = iperf_harness::process::wait_for(LIMIT, || {
            let mut all = documents(&self.process.stdout_so_far());
            (all.len() > self.seen).then(|| all.remove(self.seen))
        });
        self.seen += 1;
        document.ok_or_else(|| "the server writes no document".to_owned())
    }
}

/// Runs a row against the server; until the server listens, it tries again.
fn ask(vm: &Vm, row: &Row) -> Finished {
    let command = format!("exec iperf -c 1 --vsock -J {row}");
    let mut end = vm.run_within(&command, LIMIT);
    for _ in 0..20 {
        if !end.stdout.contains("nothing listens") && !end.stdout.contains("reset by peer") {
            break;
        }
        std::thread::sleep(Duration::from_millis(250));
        end = vm.run_within(&command, LIMIT);
    }
    end
}

fn check_row(vm: &Vm, server: &mut Server, row: &Row) -> Result<(), String> {
    let end = ask(vm, row);
    let client: Value = serde_json::from_str(&end.stdout).map_err(|e| format!("{e}\n{end}"))?;
    let mut f = Problems::new();
    f.equal(
        "exit code",
        end.code(),
        Some(i32::from(row.error.is_some())),
    );
    let error = text(&client, "/error");
    match row.error {
        None => f.equal("error", error, None),
        Some(part) => f.holds(
            format!("the error {error:?} has {part:?}"),
            error.is_some_and(|error| error.contains(part)),
        ),
    }
    let server = server.next_document()?;
    check_documents(&mut f, row, &client, &server);
    f.into_result(format!("{end}{server:#}"))
}

fn check_documents(f: &mut Problems, row: &Row, client: &Value, server: &Value) {
    let exact = !row.args.contains("--bidir");
    let (ours, theirs) = (streams(client), streams(server));
    f.holds("streams", !ours.is_empty());
    f.equal("streams of both", ours.len(), theirs.len());
    for (index, stream) in ours.iter().enumerate() {
        for (name, side) in [("sender", row.sender), ("receiver", row.receiver)] {
            let report = at(stream, &format!("/{name}/zerocopy"));
            let what = format!("stream {index}, {name}");
            if name == "sender" && row.args.starts_with("--zerocopy-rx") {
                // A side without a request has nothing to report.
                continue;
            }
            side.check(f, &what, report);
            let bytes = ["bytes_not_copied", "bytes_copied"]
                .map(|key| int(report, &format!("/{key}")).unwrap_or(-1));
            let moved = int(stream, &format!("/{name}/bytes")).unwrap_or(-2);
            // One direction of two may go on while the other is counted.
            f.holds(
                format!("{what}: {bytes:?} are {moved} bytes"),
                bytes[0] + bytes[1] == moved || !exact && bytes[0] + bytes[1] > moved,
            );
        }
    }
    for (mine, yours) in ours.iter().zip(theirs) {
        check_both_tell_the_same(f, mine, yours);
    }
}

/// A server's document reports what the server did, and the client's what both did.
fn check_both_tell_the_same(f: &mut Problems, client: &Value, server: &Value) {
    let sides = ["/sender/zerocopy", "/receiver/zerocopy"];
    let reported = sides.into_iter().filter(|side| !at(server, side).is_null());
    let reported: Vec<&str> = reported.collect();
    f.holds("the server reports what it did", !reported.is_empty());
    for side in reported {
        for key in [
            "used",
            "bytes_not_copied",
            "bytes_copied",
            "mappings",
            "completions",
            "reason",
        ] {
            let pointer = format!("{side}/{key}");
            let values = [client, server].map(|document| at(document, &pointer));
            f.equal(pointer, values[0], values[1]);
        }
    }
}

fn streams(document: &Value) -> &[Value] {
    list(document, "/end/streams")
}

impl Side {
    fn check(self, f: &mut Problems, what: &str, report: &Value) {
        let number = |key: &str| int(report, &format!("/{key}"));
        f.equal(
            format!("{what}: used"),
            text(report, "/used"),
            Some(self.used),
        );
        let cut = self.used == "msg" && number("completions_copied") > Some(0);
        let reason = text(report, "/reason").unwrap_or_default();
        let expected = if cut { CUT } else { self.reason };
        let fits = reason.contains(expected) && reason.is_empty() == expected.is_empty();
        f.holds(format!("{what}: the reason {reason:?}"), fits);
        let (uncopied, copied) = (number("bytes_not_copied"), number("bytes_copied"));
        let percent = uncopied
            .zip(copied)
            .map(|(uncopied, copied)| 100.0 * uncopied as f64 / (uncopied + copied) as f64);
        let (least, most) = self.uncopied;
        let least = if cut { least.min(SOME_CUT) } else { least };
        f.between(format!("{what}: percent"), percent, least, most);
        if self.used == "mmap" {
            f.equal(
                format!("{what}: there are mappings"),
                number("mappings") > Some(0),
                least > 0.0,
            );
        }
        if self.used == "msg" {
            f.positive(format!("{what}: completions"), number("completions"));
        }
    }
}

fn check_rows(vm: &Vm, rows: &[Row]) {
    let mut server = Server::start(vm);
    let mut reports = Vec::new();
    for row in rows {
        if let Err(report) = check_row(vm, &mut server, row) {
            reports.push(format!("──── {row}\n{report}"));
        }
    }
    server.process.signal(Signal::SIGTERM);
    server.process.finish(LIMIT);
    assert!(reports.is_empty(), "{}", reports.join("\n"));
}

/// The host's end is a Unix socket, from which nothing can be mapped, and a guest's receive buffers are single pieces.
fn check_host_and_guest(vm: &Vm, backend: &Backend) {
    let guest = backend.guest(0);
    let rows = [
        (
            to_guest(vm, guest),
            row("-Z --verify -n 2M", all("sendfile"), SINGLE_BUFFERS),
        ),
        (
            to_host(vm, guest),
            // Packets of more pages than one are lost in vhost-device-vsock 0.3.0.
            row(
                "-Z --verify -n 2M -l 4K",
                all("msg"),
                none("copy", "does not map data received over Unix sockets"),
            ),
        ),
    ];
    for (port, (route, row)) in (5300..).zip(rows) {
        check_over(&route, port, &row);
    }
}

fn check_over(route: &Route<'_>, port: u32, row: &Row) {
    let args = format!("-J {row}");
    let ends = route.meet(port, &args, "-J");
    let mut f = Problems::new();
    let (client, server) = (ends.document(&mut f, true), ends.document(&mut f, false));
    check_documents(&mut f, row, &client, &server);
    let (from, to) = (route.client, route.server);
    f.assert_none(format!("──── {from} to {to}: {row}\n{ends}"));
}

fn counts_every_byte(kernel: Kernel) {
    let backend = Backend::start(1);
    let module = ZerocopyModule::build(kernel);
    let vm = Machine::new(kernel)
        .vsock(backend.guest(0))
        .file(MODULE, programs::read(&module.file))
        // Not getting processor time for a while is nothing that the kernel is to complain of.
        .kernel_option("rcupdate.rcu_cpu_stall_suppress=1")
        .boot();
    check_rows(&vm, &WITHOUT_MODULE);
    vm.must(&format!("insmod {MODULE}"));
    check_rows(&vm, &WITH_MODULE);
    check_host_and_guest(&vm, &backend);
    vm.must("rmmod vsock_zerocopy");
    let log = vm.must("dmesg");
    for complaint in ["WARNING:", "BUG: ", "Oops", "Call Trace", "Bad page"] {
        assert!(!log.contains(complaint), "{complaint} in:\n{log}");
    }
}

#[test]
fn zerocopy_counts_every_byte_on_the_newest_kernel() {
    counts_every_byte(Kernel::New);
}

#[test]
fn zerocopy_counts_every_byte_on_the_long_term_kernel() {
    counts_every_byte(Kernel::Lts);
}
