//! What is not TCP: MPTCP, datagrams, and the Unix sockets of a VMM.

use std::fmt;
use std::time::Duration;

use iperf_harness::json::{at, int, text};
use iperf_harness::pair::udp_pair;
use iperf_harness::proxy::{HalfClose, Vmm};
use iperf_harness::{Problems, parallel};
use serde_json::Value;

use crate::account::{self, ExpectedMode};
use crate::modes::Case;

const WORKERS: usize = 4;

/// An MPTCP socket is not a TCP socket: what avoids a copy with TCP is refused here, or the kernel copies inside.
#[test]
fn over_mptcp_everything_is_copied_and_the_reason_given() {
    let senders = [
        ("-Z", ExpectedMode::plain("auto", &["sendfile"]).because()),
        (
            "--zerocopy=splice",
            ExpectedMode::plain("splice", &["splice"]).because(),
        ),
        (
            "--zerocopy=msg",
            ExpectedMode::plain("msg", &["copy"]).because(),
        ),
    ];
    let receivers = [
        (
            "--zerocopy-rx=mmap",
            ExpectedMode::plain("mmap", &["copy"]).because(),
        ),
        (
            "--zerocopy-rx=trunc",
            ExpectedMode::plain("trunc", &["trunc"]).because(),
        ),
        (
            "--zerocopy-rx=splice",
            ExpectedMode::plain("splice", &["splice"]).because(),
        ),
    ];
    let mut cases = Vec::new();
    for (sender, receiver) in senders.into_iter().zip(receivers) {
        for args in ["-m -n 8M", "-m -n 8M -R", "-m -n 8M --bidir -P 2"] {
            cases.push(Case::new(args, sender, receiver));
        }
    }
    let verified = Case::new("-m -n 8M --verify", senders[0], receivers[0]);
    cases.push(verified);
    parallel::each(&cases, WORKERS, Case::go);
}

/// A test over UDP, and what its ends come to.
struct UdpCase {
    args: &'static str,
    send: ExpectedMode,
    receive: ExpectedMode,
    /// A part of the sender's reason.
    reason: Option<&'static str>,
}

impl fmt::Display for UdpCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.args)
    }
}

impl UdpCase {
    fn go(&self) -> Result<(), String> {
        let outcome = udp_pair("-t 1 -b 20M -l 1400").client_args(self.args).run();
        let (client, server) = (outcome.client_json()?, outcome.server_json()?);
        let mut f = Problems::new();
        outcome.check_success(&mut f);
        let server_sends = self.args.contains("-R");
        let sides = [
            ("sender", self.send, "sum_sent", server_sends),
            ("receiver", self.receive, "sum_received", !server_sends),
        ];
        for (side, way, sum, is_servers) in sides {
            let object = at(&client, &format!("/end/{sum}/zerocopy"));
            let bytes = int(&client, &format!("/end/{sum}/bytes"));
            account::end(&mut f, side, object, way, bytes);
            let pointer = format!("/end/streams/0/udp/zerocopy/{side}");
            f.equal(format!("{side}: its stream"), at(&client, &pointer), object);
            let known = if is_servers { object } else { &Value::Null };
            f.equal(
                format!("{side}, by the server"),
                at(&server, &pointer),
                known,
            );
        }
        let reason = text(&client, "/end/sum_sent/zerocopy/reason");
        f.equal("reason", reason, self.reason);
        f.into_result(&outcome)
    }
}

#[test]
fn datagrams_are_sent_by_copy_or_with_completions() {
    const COPY: ExpectedMode = ExpectedMode::plain("copy", &["copy"]);
    const AUTO: ExpectedMode = ExpectedMode::plain("auto", &["copy"]).because();
    const MSG: ExpectedMode = ExpectedMode::plain("msg", &["msg"]).because();
    // Headers are read all the same.
    const TRUNC: ExpectedMode = ExpectedMode::plain("trunc", &["trunc"]).perhaps_because();
    let unless = Some("datagrams go by copy unless --zerocopy=msg");
    let after_all = Some("the kernel copied after all, as it does over loopback");
    let mut cases = Vec::new();
    for (args, send, receive, reason) in [
        ("-Z", AUTO, COPY, unless),
        ("-Z -R", AUTO, COPY, unless),
        ("--zerocopy=msg", MSG, COPY, after_all),
        ("--zerocopy=msg -R", MSG, COPY, after_all),
        ("--zerocopy=msg --gsro", MSG, COPY, after_all),
        ("--zerocopy=msg --skip-rx-copy", MSG, TRUNC, after_all),
        ("--skip-rx-copy", COPY, TRUNC, None),
        ("--skip-rx-copy -R", COPY, TRUNC, None),
    ] {
        cases.push(UdpCase {
            args,
            send,
            receive,
            reason,
        });
    }
    parallel::each(&cases, cases.len(), UdpCase::go);
}

/// A test over the Unix sockets of a VMM.
struct VmmCase(Case);

impl fmt::Display for VmmCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl VmmCase {
    fn go(&self) -> Result<(), String> {
        const PORT: u32 = 5201;
        let vmm = Vmm::start(HalfClose::Passed, Duration::ZERO);
        let (client, server) = vmm.run(PORT, &self.0.args);
        let mut f = Problems::new();
        f.holds("the client succeeds", client.succeeded());
        f.holds("the server succeeds", server.succeeded());
        f.equal("complaints of the VMM", vmm.finish(), Vec::new());
        let (ours, theirs) = (client.document(), server.document());
        let wanted = self
            .0
            .wanted
            .as_ref()
            .ok_or("such a case asks for something")?;
        account::both(&mut f, &ours, &theirs, wanted);
        f.into_result(format!("{client}{server}"))
    }
}

#[test]
fn unix_sockets_take_files_and_map_nothing() {
    const SENDFILE: (&str, ExpectedMode) = ("-Z", ExpectedMode::plain("auto", &["sendfile"]));
    const SPLICE: (&str, ExpectedMode) = (
        "--zerocopy=splice",
        ExpectedMode::plain("splice", &["splice"]),
    );
    const MSG: (&str, ExpectedMode) = (
        "--zerocopy=msg",
        ExpectedMode::plain("msg", &["copy"]).because(),
    );
    const MMAP: (&str, ExpectedMode) = (
        "--zerocopy-rx=mmap",
        ExpectedMode::plain("mmap", &["copy"]).because(),
    );
    const SPLICED: (&str, ExpectedMode) = (
        "--zerocopy-rx=splice",
        ExpectedMode::plain("splice", &["splice"]).perhaps_because(),
    );
    const TRUNC: (&str, ExpectedMode) = (
        "--zerocopy-rx=trunc",
        ExpectedMode::plain("trunc", &["trunc"]).because(),
    );
    let mut cases = Vec::new();
    for args in ["-n 8M", "-n 8M -R", "-n 8M --bidir -P 2"] {
        for (sender, receiver) in [(SENDFILE, MMAP), (SPLICE, SPLICED), (MSG, TRUNC)] {
            cases.push(VmmCase(Case::new(args, sender, receiver)));
        }
    }
    cases.push(VmmCase(Case::new("-n 8M --verify", SENDFILE, MMAP)));
    cases.push(VmmCase(Case::new("-n 8M --verify -R", MSG, MMAP)));
    parallel::each(&cases, WORKERS, VmmCase::go);
}
