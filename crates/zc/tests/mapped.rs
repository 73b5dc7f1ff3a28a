//! Received pages are really mapped where segments fill pages, and copied with a reason where they do not.
//!
//! Each test runs again in a child process, in a network namespace of its own whose loopback has the MTU that it wants.
//! A system that gives no namespace to this user fails them.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use common::{Done, HANG, STREAM, Sending, in_time, tcp, tcp_v6, transfer};
use iperf_zc::account::Fallback;
use iperf_zc::receive::map::{self, MapOptions};
use iperf_zc::send::msg::MsgSender;
use iperf_zc::source::Source;
use iperf_zc::verify::Verifier;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

/// Leaves 61440 bytes, which are 15 pages, to a segment of TCP over IPv4 with timestamps.
const PAGES_MTU: u32 = 61_492;
/// The same over IPv6.
const PAGES_MTU_V6: u32 = 61_512;
/// Loopback's usual one leaves 65483.
const USUAL_MTU: u32 = 65_536;

/// Set in the child.
const CHILD: &str = "IPERF_ZC_IN_NAMESPACE";

/// Runs `body` in a namespace; `name` is the test's. `locked` limits what may be pinned, in KiB.
fn in_namespace(name: &str, mtu: u32, locked: Option<u32>, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        body();
        return;
    }
    let limit = locked.map_or(String::new(), |kib| format!("ulimit -l {kib} && "));
    let script =
        format!("{limit}ip link set lo mtu {mtu} up && exec \"$0\" --exact {name} --nocapture");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    // A name that no test has would succeed too.
    assert!(text.contains("1 passed"), "{text}");
}

fn mapped(
    what: &str,
    pair: common::Pair,
    sending: (Sending, usize, u64),
    options: MapOptions,
) -> (Done, Done) {
    transfer(what, pair, sending, move |socket| {
        map::receiver(socket.as_fd(), &options, Some(Verifier::new(STREAM))).unwrap()
    })
}

#[track_caller]
fn assert_mapped(received: &Done) {
    let account = received.account;
    assert!(account.uncopied * 100 >= received.bytes * 95, "{account:?}");
    assert!(account.mappings > 0 && account.mappings <= account.calls);
    assert_eq!(received.fallback, None);
}

#[test]
fn pages_that_fill_segments_are_mapped() {
    in_namespace(
        "pages_that_fill_segments_are_mapped",
        PAGES_MTU,
        None,
        || {
            for block in [131_072, 61_440, 1 << 20] {
                let blocks = (64 << 20) / block as u64;
                let (sent, received) = mapped(
                    "mapping",
                    tcp(),
                    (Sending::Msg, block, blocks),
                    MapOptions::new(block),
                );
                assert_mapped(&received);
                // The pages can only be mapped because loopback copies into pages of its own.
                assert_eq!(sent.account.copied, sent.bytes);
            }
        },
    );
}

#[test]
fn pages_are_mapped_over_ipv6_too() {
    in_namespace("pages_are_mapped_over_ipv6_too", PAGES_MTU_V6, None, || {
        let sending = (Sending::Msg, 131_072, 256);
        let (_, received) = mapped("mapping", tcp_v6(), sending, MapOptions::new(131_072));
        assert_mapped(&received);
    });
}

#[test]
fn a_mapping_may_have_any_length() {
    in_namespace("a_mapping_may_have_any_length", PAGES_MTU, None, || {
        for window in [1, 4096, 3 * 4096, 61_440, 1 << 16, 64 << 20] {
            let options = MapOptions {
                window,
                ..MapOptions::new(131_072)
            };
            let sending = (Sending::Msg, 131_072, 128);
            let (_, received) = mapped(&format!("a window of {window}"), tcp(), sending, options);
            // A receiver that takes a page at a time makes the sender hit a closed window, which splits segments
            // anywhere.
            let least = if window < 1 << 16 { 50 } else { 95 };
            let account = received.account;
            assert!(
                account.uncopied * 100 >= received.bytes * least,
                "{window}: {account:?}"
            );
            assert!(account.uncopied <= account.mappings * options.window.max(4096) as u64);
        }
    });
}

#[test]
fn what_lies_across_pages_is_copied_and_nothing_is_lost() {
    in_namespace(
        "what_lies_across_pages_is_copied_and_nothing_is_lost",
        PAGES_MTU,
        None,
        || {
            for block in [100_001, 61_441, 5000, 1 << 17] {
                for sending in Sending::ALL {
                    let what = format!("{sending:?}, blocks of {block}");
                    let sending = (sending, block, (24 << 20) / block as u64);
                    mapped(&what, tcp(), sending, MapOptions::new(block));
                }
            }
        },
    );
}

#[test]
fn writes_of_all_sizes_arrive_whole() {
    in_namespace("writes_of_all_sizes_arrive_whole", PAGES_MTU, None, || {
        let received = in_time("writes of all sizes", || {
            let (from, to) = tcp();
            let writer = std::thread::spawn(move || {
                let pattern = iperf_zc::source::pattern(STREAM);
                let mut stream = pattern.iter().copied().cycle();
                let mut file = std::fs::File::from(from);
                let sizes = [1, 4095, 4096, 4097, 61_440, 3, 122_880, 100, 61_441];
                for size in sizes.into_iter().cycle().take(900) {
                    let bytes: Vec<u8> = stream.by_ref().take(size).collect();
                    file.write_all(&bytes).unwrap();
                }
            });
            let verifier = Some(Verifier::new(STREAM));
            let mut mover = map::receiver(to.as_fd(), &MapOptions::new(4096), verifier).unwrap();
            let received = common::receive(&mut *mover, &to).unwrap();
            writer.join().unwrap();
            received
        });
        let total = 100 * (1 + 4095 + 4096 + 4097 + 61_440 + 3 + 122_880 + 100 + 61_441);
        assert_eq!((received.bytes, received.account.bytes()), (total, total));
    });
}

#[test]
fn segments_that_end_inside_pages_are_mapped_but_for_their_ends() {
    let name = "segments_that_end_inside_pages_are_mapped_but_for_their_ends";
    in_namespace(name, USUAL_MTU, None, || {
        let sending = (Sending::Msg, 131_072, 256);
        let (_, received) = mapped("mapping most", tcp(), sending, MapOptions::new(131_072));
        let account = received.account;
        assert!(account.uncopied * 100 >= received.bytes * 80, "{account:?}");
        assert!(account.copied > 0);
    });
}

#[test]
fn segments_of_a_network_that_end_inside_pages_are_a_reason_to_copy() {
    let name = "segments_of_a_network_that_end_inside_pages_are_a_reason_to_copy";
    // Two addresses that are not loopback's, and frames as on a network with jumbo frames.
    in_namespace(name, 9000, None, || {
        for address in ["10.99.0.1/32", "10.99.0.2/32"] {
            let done = Command::new("ip")
                .args(["address", "add", address, "dev", "lo"])
                .status();
            assert!(done.unwrap().success());
        }
        let listener = std::net::TcpListener::bind("10.99.0.1:0").unwrap();
        let client =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let from: std::net::SocketAddr = "10.99.0.2:0".parse().unwrap();
        client.bind(&from.into()).unwrap();
        client
            .connect(&listener.local_addr().unwrap().into())
            .unwrap();
        let pair = (client.into(), listener.accept().unwrap().0.into());
        let sending = (Sending::Copy, 131_072, 256);
        let (_, received) = mapped("copying", pair, sending, MapOptions::new(131_072));
        let fallback = received.fallback.unwrap();
        assert!(
            matches!(fallback, Fallback::Segments { page: 4096, .. }),
            "{fallback}"
        );
    });
}

#[test]
fn pages_of_a_file_are_a_reason_to_copy() {
    let name = "pages_of_a_file_are_a_reason_to_copy";
    in_namespace(name, PAGES_MTU, None, || {
        let sending = (Sending::Sendfile, 131_072, 256);
        let (_, received) = mapped("copying", tcp(), sending, MapOptions::new(131_072));
        assert_eq!(received.fallback, Some(Fallback::Pages { percent: 0 }));
        assert_eq!(received.account.mappings, 0);
    });
}

#[test]
fn a_mapping_keeps_the_connection_open_until_it_is_dropped() {
    let name = "a_mapping_keeps_the_connection_open_until_it_is_dropped";
    in_namespace(name, PAGES_MTU, None, || {
        use std::io::Read;
        let (from, to) = tcp();
        let mover = map::receiver(to.as_fd(), &MapOptions::new(1000), None).unwrap();
        drop(to);
        let mut peer = std::net::TcpStream::from(from);
        let wait = Some(std::time::Duration::from_millis(100));
        peer.set_read_timeout(wait).unwrap();
        let error = peer.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(mover);
        peer.set_read_timeout(Some(HANG)).unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    });
}

/// Whether fewer than `calls` blocks can be in flight.
fn pins_at_most(block: usize, calls: usize) -> bool {
    let (from, _to) = tcp();
    let source = Source::repeat(&vec![1; block]).unwrap();
    // Only to enable it; the calls below bypass its ledger, so completions are not collected.
    let _mover = MsgSender::new(source, from.as_fd()).unwrap();
    let memory = vec![1; block];
    let flags = MsgFlags::from_bits_retain(libc::MSG_ZEROCOPY) | MsgFlags::MSG_DONTWAIT;
    let results: Vec<_> = (0..calls)
        .map(|_| send(from.as_raw_fd(), &memory, flags))
        .collect();
    results.contains(&Err(Errno::ENOBUFS))
}

#[test]
fn a_limit_on_pinned_memory_slows_down_and_loses_nothing() {
    let name = "a_limit_on_pinned_memory_slows_down_and_loses_nothing";
    // Room for one or two blocks at a time.
    in_namespace(name, PAGES_MTU, Some(320), || {
        assert!(pins_at_most(131_072, 4), "the limit holds for this process");
        let sending = (Sending::Msg, 131_072, 128);
        let (sent, received) = mapped("little pinned", tcp(), sending, MapOptions::new(131_072));
        assert_mapped(&received);
        assert_eq!(sent.fallback, None);
        assert_eq!(sent.account.completions, sent.account.calls);
    });
}

#[test]
fn a_block_that_cannot_be_pinned_is_copied_with_a_reason() {
    let name = "a_block_that_cannot_be_pinned_is_copied_with_a_reason";
    in_namespace(name, PAGES_MTU, Some(64), || {
        let sending = (Sending::Msg, 131_072, 32);
        let (sent, _) = mapped("nothing pinned", tcp(), sending, MapOptions::new(131_072));
        assert_eq!(sent.fallback, Some(Fallback::PinLimit));
        assert_eq!(
            (sent.account.copied, sent.account.completions),
            (sent.bytes, 0)
        );
    });
}
