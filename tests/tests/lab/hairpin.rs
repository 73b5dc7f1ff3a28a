//! `virtio_vsock_pages` with a device that does what it must not, and what vhost-device-vsock cannot.
//!
//! ```text
//! SEQPACKET                 messages arrive whole, also cut into packets of one piece
//! contradicting lengths     the packet is dropped and counted
//! nonsense                  the kernel answers with a reset, or drops it
//! answers are not taken     receiving pauses, and goes on when they are, also those to requests for credit
//! an unknown buffer         the ring is broken: bound again, everything works
//! the transport is reset    the test ends with an error, and the next one works
//! suspended to memory       the next test works
//! ```

use std::time::Duration;

use iperf_harness::process::wait_for;
use iperf_harness::{HANG, Peer};
use iperf_lab::hairpin::{Forged, HAIRPIN_CID, HEADER, Header};
use iperf_lab::{Hairpin, Kernel, Machine, Place, Vm, ZerocopyModule, programs};

use super::encounter::Route;
use super::pages::{change_transport, check_log, counter, deaf};

const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_vsock_pages";

const REQUEST: u16 = 1;
const RW: u16 = 5;
const CREDIT_REQUEST: u16 = 7;

/// A CID that nothing has.
const NO_PORT: u32 = 60_000;

struct Lab {
    device: Hairpin,
    vm: Vm,
}

impl Lab {
    fn start(kernel: Kernel, parameters: &str) -> Self {
        let device = Hairpin::start();
        let built = ZerocopyModule::build(kernel);
        let vm = Machine::new(kernel)
            .hairpin(&device)
            .file("/vsock_zerocopy.ko", programs::read(&built.file))
            .file("/virtio_vsock_pages.ko", programs::read(&built.transport))
            .boot();
        change_transport(&vm, parameters);
        vm.must("insmod /vsock_zerocopy.ko");
        Self { device, vm }
    }

    fn route(&self) -> Route<'_> {
        let to = format!("{HAIRPIN_CID} --vsock");
        Route::new(Place::In(&self.vm), &to, Place::In(&self.vm), "--vsock").anonymous()
    }

    fn works(&self, port: u32, args: &str) {
        self.route()
            .checked(Peer::Ours, Peer::Ours, port, args)
            .unwrap_or_else(|report| panic!("{args}\n{report}"));
    }

    /// The guest is given all of these, and has looked at them: at those that it dropped, so many in all.
    fn give(&self, packets: impl IntoIterator<Item = Forged>, dropped: i64) {
        for packet in packets {
            self.device.forge(packet);
        }
        wait_for(HANG, || self.device.is_done().then_some(()))
            .expect("the guest accepts the packets");
        wait_for(HANG, || {
            (counter(&self.vm, "rx_dropped") >= dropped).then_some(())
        });
        std::thread::sleep(Duration::from_millis(200));
    }

    fn bind_again(&self) {
        self.vm.must(&format!(
            "cd {DRIVER}; device=$(echo virtio*); echo $device > unbind; echo $device > bind"
        ));
    }
}

#[test]
fn pages_carry_messages() {
    let lab = Lab::start(Kernel::New, "");
    lab.works(5600, "-Z --verify -n 8M -l 64K --bidir");
    lab.works(5601, "--seqpacket --verify -k 20 -l 200000 --bidir");
    assert_eq!(counter(&lab.vm, "tx_splits"), 0);
    // Cut into packets of one piece.
    lab.vm
        .must("rmmod virtio_vsock_pages && insmod /virtio_vsock_pages.ko split=1");
    lab.works(5602, "--seqpacket --verify -k 20 -l 200000 -R");
    lab.works(5603, "--seqpacket --verify -k 200 -l 1000");
    assert!(counter(&lab.vm, "tx_splits") > 0);
    assert_eq!(counter(&lab.vm, "rx_dropped"), 0);
    check_log(&lab.vm);
}

/// Packets with lengths that contradict each other, or the buffer.
fn contradictions() -> Vec<Forged> {
    let header = |len: u32| Header {
        len,
        ..Header::new(RW, NO_PORT, NO_PORT)
    };
    let packet = |len: u32, payload: usize, written: u32| Forged {
        written: Some(written),
        ..Forged::honest(&header(len), &vec![7; payload])
    };
    let whole = u32::try_from(HEADER).expect("44");
    vec![
        // Less than a header.
        packet(0, 0, 1),
        packet(0, 0, whole - 1),
        // More in the header than was written.
        packet(1, 0, whole),
        packet(1000, 100, whole + 100),
        packet(u32::MAX, 100, whole + 100),
        packet(u32::MAX - whole + 1, 100, whole + 100),
        // More was written than there is room for.
        packet(100, 100, whole + 65_536 + 1),
        packet(100, 100, u32::MAX),
    ]
}

/// Well-formed, and without meaning.
fn nonsense() -> Vec<Forged> {
    let header = Header::new(RW, NO_PORT, NO_PORT);
    let changed = |change: fn(&mut Header)| {
        let mut header = header;
        change(&mut header);
        Forged::honest(&header, &[])
    };
    vec![
        changed(|header| header.op = 0),
        changed(|header| header.op = 77),
        changed(|header| header.kind = 99),
        changed(|header| header.kind = 2),
        changed(|header| header.dst_cid = u64::MAX),
        changed(|header| header.src_cid = u64::MAX),
        changed(|header| header.flags = u32::MAX),
        changed(|header| header.buf_alloc = 0),
        changed(|header| header.fwd_cnt = u32::MAX),
        Forged::honest(&Header { len: 3, ..header }, b"abc"),
        // Nothing listens, so each is answered.
        Forged::honest(&Header::new(REQUEST, 1, NO_PORT), &[]),
    ]
}

fn survives_a_hostile_device(kernel: Kernel) {
    let lab = Lab::start(kernel, "");
    lab.works(5600, "-Z --verify -n 1M");

    let forged = contradictions();
    let number = i64::try_from(forged.len()).expect("a few");
    lab.give(forged, number);
    assert_eq!(counter(&lab.vm, "rx_dropped"), number);
    lab.works(5601, "-Z --verify -n 1M");
    lab.give(nonsense(), number);
    assert_eq!(counter(&lab.vm, "rx_dropped"), number);
    lab.works(5602, "-Z --verify -n 1M");

    // No port for any of them.
    let requests =
        (0..2000).map(|port| Forged::honest(&Header::new(REQUEST, 10_000 + port, NO_PORT), &[]));
    answers_wait(&lab, requests.collect());
    lab.works(5603, "-Z --verify -n 1M");

    // A connection, and the same question again and again.
    let deaf = deaf(&lab.vm, 7000);
    let connect = Forged::honest(&Header::new(REQUEST, 20_000, 7000), &[]);
    let ask = Forged::honest(&Header::new(CREDIT_REQUEST, 20_000, 7000), &[]);
    let questions = std::iter::once(connect).chain(std::iter::repeat_n(ask, 2000));
    answers_wait(&lab, questions.collect());
    drop(deaf);
    lab.works(5604, "-Z --verify -n 1M");

    broken_rings(&lab);
    check_log(&lab.vm);
    lab.vm.must("rmmod vsock_zerocopy virtio_vsock_pages");
}

/// The device takes no answers, of which each of these needs one, and the ring has 128 entries.
fn answers_wait(lab: &Lab, packets: Vec<Forged>) {
    let before = counter(&lab.vm, "rx_pauses");
    let pauses = || (counter(&lab.vm, "rx_pauses") > before).then_some(());
    lab.device.takes_packets(false);
    for packet in packets {
        lab.device.forge(packet);
    }
    wait_for(HANG, pauses).expect("receiving pauses");
    assert!(!lab.device.is_done(), "the guest accepts no more packets");
    lab.device.takes_packets(true);
    wait_for(HANG, || lab.device.is_done().then_some(())).expect("and goes on");
}

/// A buffer that the guest has not given: the kernel stops using the ring, and a new one is as good as ever.
fn broken_rings(lab: &Lab) {
    for (port, buffer) in (5610..).zip([127_u32, 60_000]) {
        let packet = Forged::honest(&Header::new(RW, NO_PORT, NO_PORT), &[]);
        let unknown = Forged {
            buffer: Some(buffer),
            ..packet
        };
        lab.give([unknown], 0);
        lab.bind_again();
        lab.works(port, "-Z --verify -n 1M");
    }
    let log = lab.vm.must("dmesg");
    assert!(log.contains("id 60000 out of range"), "{log}");
}

#[test]
fn pages_survive_a_hostile_device_on_the_newest_kernel() {
    survives_a_hostile_device(Kernel::New);
}

/// By hand.
#[test]
#[ignore = "takes its time, and differs little"]
fn pages_survive_a_hostile_device_on_the_long_term_kernel() {
    survives_a_hostile_device(Kernel::Lts);
}

/// A test that runs, and what is done to it.
fn interrupted(lab: &Lab, port: u32, interrupt: impl FnOnce()) {
    let route = lab.route();
    let server = route.serve(Peer::Ours, port, "-1");
    wait_for(HANG, || {
        server.stdout_so_far().contains("listening").then_some(())
    })
    .expect("it listens");
    let client = route.start_client(Peer::Ours, port, "-t 60 --bidir -b 20M");
    let runs = wait_for(HANG, || {
        client.stdout_so_far().contains("bits/sec").then_some(())
    });
    assert!(
        runs.is_some(),
        "no test runs: {}",
        client.finish(Duration::ZERO)
    );
    interrupt();
    for end in [client.finish(HANG), server.finish(HANG)] {
        assert!(!end.timed_out, "{end}");
        assert!(end.stderr.contains("iperf: error - "), "{end}");
    }
    lab.works(port + 1, "-Z --verify -n 1M");
}

fn goes_on_after_a_reset_and_a_suspend(kernel: Kernel) {
    let lab = Lab::start(kernel, "");
    interrupted(&lab, 5620, || {
        assert!(lab.device.reset_transport(), "there is one ring of events");
        wait_for(HANG, || {
            (counter(&lab.vm, "transport_resets") == 1).then_some(())
        })
        .expect("it is counted");
    });
    check_log(&lab.vm);
    suspend(&lab);
}

#[test]
fn pages_go_on_after_a_reset_and_a_suspend_on_the_newest_kernel() {
    goes_on_after_a_reset_and_a_suspend(Kernel::New);
}

/// By hand.
#[test]
#[ignore = "takes its time, and differs little"]
fn pages_go_on_after_a_reset_and_a_suspend_on_the_long_term_kernel() {
    goes_on_after_a_reset_and_a_suspend(Kernel::Lts);
}

/// The serial line does not survive a suspend, so the guest writes what happened to its console. An alarm that goes off
/// before the guest sleeps does not wake it, and a slow one takes a while to fall asleep.
const SUSPEND: &str = "\
    echo +5 > /sys/class/rtc/rtc0/wakealarm; echo mem > /sys/power/state; echo \"suspend: code $?\"\n\
    (iperf -s --vsock -p 5632 -1 > /dev/null 2>&1 &)\n\
    iperf -c 9 --vsock -p 5632 -n 1M -Z --verify --wait 60 && echo 'suspend: works'\n\
    dmesg | grep -E 'suspend exit|WARNING:|BUG: |Oops|Call Trace|Bad page'\n\
    echo 'suspend: over'\n";

fn suspend(lab: &Lab) {
    lab.vm.write("/suspend", SUSPEND.as_bytes());
    let _script = lab.vm.start("exec setsid sh /suspend > /dev/ttyS0 2>&1");
    let over = wait_for(HANG, || {
        let console = lab.vm.console();
        console.contains("suspend: over").then_some(console)
    });
    let console = over.unwrap_or_else(|| lab.vm.console());
    assert!(console.contains("suspend: works"), "{console}");
    assert!(console.contains("PM: suspend exit"), "{console}");
    for complaint in ["WARNING:", "BUG: ", "Oops", "Call Trace", "Bad page"] {
        assert!(!console.contains(complaint), "{console}");
    }
}
