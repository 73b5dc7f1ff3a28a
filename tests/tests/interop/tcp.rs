//! Every kind of TCP test.

use iperf_harness::json::{at, int, list, text};
use serde_json::Value;

use crate::cases::Peers::{New, OurClient};
use crate::cases::{Case, case, own_ports, tos};

/// Every kind of TCP test.
pub(super) fn table() -> Vec<Case> {
    [
        modes(),
        limits(),
        sockets(),
        addresses(),
        texts(),
        payloads(),
        mptcp(),
    ]
    .concat()
}

/// The sending end, and the number of streams.
fn modes() -> Vec<Case> {
    vec![
        case("plain", "-t 1 -b 20M"),
        case("plain unlimited", "-t 1"),
        case("reverse", "-t 1 -b 20M -R"),
        case("reverse unlimited", "-t 1 -R"),
        case("bidir", "-t 1 -b 20M --bidir"),
        case("time 2", "-t 2 -b 20M"),
        case("4 streams", "-t 1 -b 10M -P 4"),
        case("4 streams reverse", "-t 1 -b 10M -P 4 -R"),
        case("2 streams bidir", "-t 1 -b 10M -P 2 --bidir"),
        case("16 streams bidir", "-t 1 -b 5M -P 16 --bidir"),
        case("128 streams", "-t 2 -b 2M -P 128"),
    ]
}

/// What ends a test, and what is reported of it.
fn limits() -> Vec<Case> {
    vec![
        case("bytes", "-n 4M"),
        case("bytes odd", "-n 1000000"),
        case("bytes reverse", "-n 4M -R"),
        case("bytes bidir", "-n 4M --bidir"),
        case("bytes 4 streams", "-n 64M -P 4"),
        case("bytes -i 0", "-n 4M -i 0").peers(OurClient),
        case("bytes reverse -i 0", "-n 4M -R -i 0").peers(OurClient),
        case("blocks", "-k 40"),
        case("blocks reverse", "-k 40 -R"),
        case("blocks -i 0", "-k 40 -i 0").peers(OurClient),
        case("blocks reverse -i 0", "-k 40 -R -i 0").peers(OurClient),
        case("one report", "-t 1 -b 20M -i 0"),
        case("short reports", "-t 1 -b 20M -i 0.5"),
        case("flushed reports", "-t 1 -b 20M --forceflush"),
        case("omit", "-t 1 -b 20M -O 1"),
        case("omit reverse", "-t 1 -b 20M -O 1 -R"),
        case("omit bidir 2 streams", "-t 1 -b 10M -O 1 --bidir -P 2"),
        case("omit short reports", "-t 1 -b 20M -O 1 -i 0.5"),
    ]
}

/// Options of the data sockets, and how fast they are fed.
fn sockets() -> Vec<Case> {
    vec![
        case("small blocks", "-t 1 -b 20M -l 1000"),
        case("large blocks", "-t 1 -b 80M -l 1M"),
        case("window", "-t 1 -b 20M -w 256K").check(|observed, f| {
            for (end, doc) in observed.ends() {
                f.equal(
                    format!("{end}: sock_bufsize"),
                    int(doc, "/start/sock_bufsize"),
                    Some(262_144),
                );
                for key in ["sndbuf_actual", "rcvbuf_actual"] {
                    let kept = int(doc, &format!("/start/{key}"));
                    f.holds(format!("{end}: {key} {kept:?}"), kept >= Some(262_144));
                }
            }
        }),
        case("no delay", "-t 1 -b 20M -N"),
        case("mss", "-t 1 -b 20M -M 1400").check(|observed, f| {
            for (end, doc) in observed.ends() {
                f.equal(
                    format!("{end}: tcp_mss"),
                    int(doc, "/start/tcp_mss"),
                    Some(1400),
                );
                f.equal(
                    format!("{end}: tcp_mss_default"),
                    at(doc, "/start/tcp_mss_default"),
                    &Value::Null,
                );
            }
        }),
        case(
            "no delay, mss, window",
            "-t 1 -b 20M -N -M 1400 -w 128K -P 2",
        ),
        case("congestion control", "-t 1 -b 20M -C reno").check(|observed, f| {
            let key = "/end/sender_tcp_congestion";
            f.equal(
                "sender_tcp_congestion",
                text(observed.client, key),
                Some("reno"),
            );
        }),
        case("congestion control reverse", "-t 1 -b 20M -C reno -R").check(|observed, f| {
            let key = "/end/sender_tcp_congestion";
            f.equal(
                "sender_tcp_congestion",
                text(observed.client, key),
                Some("reno"),
            );
        }),
        case("rate with burst", "-t 1 -b 20M/5").check(|observed, f| {
            f.equal(
                "target_bitrate",
                int(observed.client, "/start/target_bitrate"),
                Some(20_000_000),
            );
            f.equal(
                "target_bitrate",
                int(observed.server, "/start/target_bitrate"),
                Some(20_000_000),
            );
        }),
        case("kernel pacing", "-t 1 --fq-rate 100M"),
        case("pacing timer", "-t 1 -b 20M --pacing-timer 500"),
        case("keepalive", "-t 1 -b 20M --cntl-ka=10/2/3").peers(New),
        case("keepalive on both ends", "-t 1 -b 20M --cntl-ka")
            .server("--cntl-ka")
            .peers(New),
    ]
}

/// Where the ends are.
fn addresses() -> Vec<Case> {
    vec![
        case("bind", "-t 1 -b 20M -B 127.0.0.2").check(|observed, f| {
            f.equal(
                "local_host",
                text(observed.client, "/start/connected/0/local_host"),
                Some("127.0.0.2"),
            );
            f.equal(
                "remote_host",
                text(observed.server, "/start/connected/0/remote_host"),
                Some("127.0.0.2"),
            );
        }),
        case("bind to a device", "-t 1 -b 20M --bind-dev lo"),
        case("own ports", "-t 1 -b 20M -P 2 --cport {cport}").check(own_ports),
        case(
            "own ports bidir",
            "-t 1 -b 20M -P 2 --bidir --cport {cport}",
        )
        .check(own_ports),
        case("IPv4", "-t 1 -b 20M -4")
            .host("localhost")
            .check(|observed, f| {
                f.equal(
                    "remote_host",
                    text(observed.client, "/start/connected/0/remote_host"),
                    Some("127.0.0.1"),
                );
            }),
        case("IPv6", "-t 1 -b 20M -6")
            .host("::1")
            .check(|observed, f| {
                f.equal(
                    "remote_host",
                    text(observed.client, "/start/connected/0/remote_host"),
                    Some("::1"),
                );
            }),
        // Real clients want a label for themselves, which the kernel keeps for some seconds.
        case("flow label", "-t 1 -b 20M -6 -L 7 -P 2")
            .host("::1")
            .peers(OurClient),
        case("IPv4 server", "-t 1 -b 20M").server("-4"),
        case("bound server", "-t 1 -b 20M").server("-B 127.0.0.1"),
        case("type of service", "-t 1 -b 20M -S 0x10").check(|observed, f| tos(observed, f, 16)),
        case("DSCP", "-t 1 -b 20M --dscp ef").check(|observed, f| tos(observed, f, 184)),
    ]
}

/// What is reported about a test.
fn texts() -> Vec<Case> {
    vec![
        case("title", "-t 1 -b 20M -T 'my title'").check(|observed, f| {
            for (end, doc) in observed.ends() {
                f.equal(
                    format!("{end}: title"),
                    text(doc, "/title"),
                    Some("my title"),
                );
            }
        }),
        case("extra data", "-t 1 -b 20M --extra-data 'more data'").check(|observed, f| {
            for (end, doc) in observed.ends() {
                f.equal(
                    format!("{end}: extra_data"),
                    text(doc, "/extra_data"),
                    Some("more data"),
                );
            }
        }),
        case("server output as JSON", "-t 1 -b 20M --get-server-output").check(|observed, f| {
            let inner = at(observed.client, "/server_output_json");
            f.equal(
                "inner cookie",
                text(inner, "/start/cookie"),
                text(observed.client, "/start/cookie"),
            );
            f.holds("inner intervals", !list(inner, "/intervals").is_empty());
            let key = "/end/sum_received/bytes";
            f.equal("inner bytes", int(inner, key), int(observed.server, key));
        }),
        case("server output as text", "-t 1 -b 20M --get-server-output")
            .text_server()
            .check(|observed, f| {
                let inner = text(observed.client, "/server_output_text").unwrap_or("");
                f.holds(
                    "it begins with the connection",
                    inner.starts_with("Accepted connection from 127.0.0.1, port "),
                );
                f.holds("it has a summary", inner.trim_end().ends_with("receiver"));
            }),
        case(
            "server output as text reverse",
            "-t 1 -b 20M -R --get-server-output",
        )
        .text_server()
        .check(|observed, f| {
            let inner = text(observed.client, "/server_output_text").unwrap_or("");
            f.holds("it has a summary", inner.trim_end().ends_with("sender"));
        }),
    ]
}

/// What is sent, by which mode, and by which end.
fn payloads() -> Vec<Case> {
    vec![
        case("zero-copy", "-t 1 -b 200M -Z"),
        case("zero-copy reverse", "-t 1 -b 200M -Z -R"),
        case("discarding receiver", "-t 1 -b 200M --skip-rx-copy").peers(New),
        case(
            "discarding receiver reverse",
            "-t 1 -b 200M --skip-rx-copy -R",
        )
        .peers(New),
        case("affinity", "-t 1 -b 20M -A 0"),
        case("affinity of both", "-t 1 -b 20M -A 0,1"),
        case("connect timeout", "-t 1 -b 20M --connect-timeout 2000"),
        case("receive timeout", "-t 1 -b 20M -R --rcv-timeout 5000"),
        case("send timeout", "-t 1 -b 20M --snd-timeout 5000"),
        case("repeating payload", "-t 1 -b 8M --repeating-payload")
            .server("-F {dir}/out")
            .check(|observed, f| {
                let out = observed.outcome.file("out");
                f.holds("the server wrote a block", out.len() >= 131_072);
                let digits = out.iter().zip((b'0'..=b'9').cycle()).take(131_072);
                f.holds(
                    "a block is the ten digits over and over",
                    digits.into_iter().all(|(got, want)| *got == want),
                );
            }),
        case("random payload", "-t 1 -b 8M")
            .server("-F {dir}/out")
            .check(|observed, f| {
                let out = observed.outcome.file("out");
                let mut counts = [0_u32; 256];
                out.iter()
                    .take(131_072)
                    .for_each(|byte| counts[usize::from(*byte)] += 1);
                f.holds(
                    "a block has every byte about 512 times",
                    counts.iter().all(|n| (300..800).contains(n)),
                );
            }),
        case("file to server", "-F {dir}/in -n 2M -l 64K")
            .server("-F {dir}/out")
            .file("in", sample_file)
            .check(|observed, f| {
                let (sent, out) = (sample_file(), observed.outcome.file("out"));
                // What is still on its way at the end is lost, and a receiver may stop counting between a
                // block's arrival and its way to the file.
                let received = int(observed.server, "/end/sum_received/bytes").unwrap_or(-1);
                let received = u64::try_from(received).unwrap_or(u64::MAX - 65_536);
                f.holds(
                    format!("{} bytes written, {received} counted", out.len()),
                    (received..=received + 65_536).contains(&(out.len() as u64)),
                );
                f.holds("they are the beginning of the file", sent.starts_with(&out));
                f.equal(
                    "filename",
                    text(observed.client, "/end/streams/0/diskfile/filename").is_some(),
                    true,
                );
                f.equal(
                    "size",
                    int(observed.client, "/end/streams/0/diskfile/size"),
                    Some(2 << 20),
                );
            }),
        case("file to client", "-F {dir}/out -t 1 -b 20M -R")
            .server("-F {dir}/in")
            .file("in", sample_file)
            .check(|observed, f| {
                let (sent, out) = (sample_file(), observed.outcome.file("out"));
                f.holds("something arrived", out.len() >= 131_072);
                f.holds("it is the beginning of the file", sent.starts_with(&out));
            }),
    ]
}

/// Two MiB in which no two blocks are alike.
fn sample_file() -> Vec<u8> {
    (0..1_u32 << 19).flat_map(u32::to_be_bytes).collect()
}

/// The same over MPTCP.
fn mptcp() -> Vec<Case> {
    vec![
        case("MPTCP", "-t 1 -b 20M -m").peers(New),
        case("MPTCP reverse", "-t 1 -b 20M -m -R").peers(New),
        case("MPTCP bidir 2 streams", "-t 1 -b 10M -m --bidir -P 2").peers(New),
        case("MPTCP bytes", "-n 4M -m").peers(New),
        case("MPTCP omit", "-t 1 -b 20M -m -O 1").peers(New),
        case("MPTCP IPv6", "-t 1 -b 20M -m -6")
            .host("::1")
            .peers(New),
        case("MPTCP zero-copy", "-t 1 -b 200M -m -Z").peers(New),
    ]
}
