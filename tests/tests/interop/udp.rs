//! Every kind of UDP test.

use iperf_harness::json::{at, int, list, text};

use crate::cases::Peers::{New, OurReceiver};
use crate::cases::{Case, case, own_ports, tos};

/// The table.
pub(super) fn table() -> Vec<Case> {
    [modes(), limits(), datagrams(), sockets()].concat()
}

/// The sending end, and the number of streams.
pub(super) fn modes() -> Vec<Case> {
    vec![
        case("UDP plain", "-u -t 1"),
        case("UDP unlimited", "-u -t 1 -b 0 -l 1448"),
        case("UDP reverse", "-u -t 1 -b 5M -R -l 1448"),
        case("UDP bidir", "-u -t 1 -b 5M --bidir -l 1448"),
        case("UDP time 2", "-u -t 2 -b 5M -l 1448"),
        case("UDP 4 streams", "-u -t 1 -b 2M -P 4 -l 1448"),
        case("UDP 4 streams reverse", "-u -t 1 -b 2M -P 4 -R -l 1448"),
        case("UDP 4 streams bidir", "-u -t 1 -b 2M -P 4 --bidir -l 1448"),
        case("UDP 32 streams", "-u -t 1 -b 500K -P 32 -l 1000"),
    ]
}

/// What ends a test, and what is reported of it.
pub(super) fn limits() -> Vec<Case> {
    vec![
        case("UDP bytes", "-u -n 500000 -b 8M -l 1000"),
        case("UDP bytes odd", "-u -n 123457 -b 8M -l 1000"),
        case("UDP bytes reverse", "-u -n 500000 -b 8M -l 1000 -R"),
        case("UDP blocks", "-u -k 500 -b 8M -l 1000"),
        case("UDP blocks reverse", "-u -k 500 -b 8M -l 1000 -R"),
        case("UDP blocks 2 streams", "-u -k 500 -b 8M -l 1000 -P 2"),
        case("UDP blocks in bursts", "-u -k 500 -b 8M/10 -l 1000"),
        case("UDP one report", "-u -t 1 -b 5M -i 0 -l 1448"),
        case("UDP short reports", "-u -t 1 -b 5M -i 0.5 -l 1448"),
        case("UDP omit", "-u -t 1 -b 5M -O 1 -l 1448"),
        case("UDP omit reverse", "-u -t 1 -b 5M -O 1 -R -l 1448"),
        case(
            "UDP omit bidir 2 streams",
            "-u -t 1 -b 2M -O 1 --bidir -P 2 -l 1448",
        ),
    ]
}

/// Their sizes and what is in them.
fn datagrams() -> Vec<Case> {
    vec![
        case("UDP smallest", "-u -t 1 -b 500K -l 16"),
        case("UDP largest", "-u -t 1 -b 40M -l 65507").warning(),
        case("UDP largest reverse", "-u -t 1 -b 40M -l 65507 -R").warning(),
        case(
            "UDP wide counters",
            "-u -t 1 -b 5M -l 1448 --udp-counters-64bit",
        ),
        case(
            "UDP wide counters smallest",
            "-u -t 1 -b 500K -l 16 --udp-counters-64bit",
        ),
        case(
            "UDP wide counters reverse",
            "-u -t 1 -b 5M -l 1448 --udp-counters-64bit -R",
        ),
        case("UDP unlimited reverse", "-u -t 1 -b 0 -l 1448 -R"),
        case("UDP unlimited short", "-u -t 1 -b 0 -l 64"),
        case("UDP unlimited short reverse", "-u -t 1 -b 0 -l 64 -R"),
        case("UDP many together", "-u -t 1 -b 200M -l 1448"),
        case("UDP many together reverse", "-u -t 1 -b 200M -l 1448 -R"),
        case("UDP together in bursts", "-u -t 1 -b 100M/40 -l 1000 -6").host("::1"),
        case("UDP whole", "-u -t 1 -b 5M -l 1448 --dont-fragment"),
        case("UDP digits", "-u -t 1 -b 5M -l 1448 --repeating-payload"),
        case("UDP offload", "-u -t 1 -b 50M -l 1200 --gsro").peers(New),
        case("UDP offload reverse", "-u -t 1 -b 50M -l 1200 --gsro -R").peers(New),
        case(
            "UDP offload bidir",
            "-u -t 1 -b 20M -l 1200 --gsro --bidir -P 2",
        )
        .peers(New),
        case("UDP offload large", "-u -t 1 -b 50M -l 40000 --gsro")
            .peers(New)
            .warning(),
        case("UDP discarding", "-u -t 1 -b 5M -l 1448 --skip-rx-copy").peers(OurReceiver),
        case(
            "UDP discarding reverse",
            "-u -t 1 -b 5M -l 1448 --skip-rx-copy -R",
        )
        .peers(OurReceiver),
        case(
            "UDP server output",
            "-u -t 1 -b 5M -l 1448 --get-server-output",
        )
        .check(|observed, f| {
            let inner = at(observed.client, "/server_output_json");
            let key = "/end/sum_received/bytes";
            f.equal("inner bytes", int(inner, key), int(observed.server, key));
            f.holds("inner intervals", !list(inner, "/intervals").is_empty());
        }),
        case(
            "UDP server text",
            "-u -t 1 -b 5M -l 1448 --get-server-output",
        )
        .text_server()
        .check(|observed, f| {
            let inner = text(observed.client, "/server_output_text").unwrap_or("");
            f.holds("it has a summary", inner.trim_end().ends_with("receiver"));
        }),
    ]
}

/// Options of the sockets, and where they are.
fn sockets() -> Vec<Case> {
    vec![
        case("UDP window", "-u -t 1 -b 5M -l 1448 -w 200K").check(|observed, f| {
            for (end, doc) in observed.ends() {
                let kept = int(doc, "/start/rcvbuf_actual");
                f.holds(
                    format!("{end}: rcvbuf_actual {kept:?}"),
                    kept >= Some(204_800),
                );
            }
        }),
        case("UDP type of service", "-u -t 1 -b 5M -l 1448 -S 0x10")
            .check(|observed, f| tos(observed, f, 16)),
        case("UDP DSCP", "-u -t 1 -b 5M -l 1448 --dscp ef")
            .check(|observed, f| tos(observed, f, 184)),
        case("UDP IPv4", "-u -t 1 -b 5M -l 1448 -4").host("localhost"),
        case("UDP IPv6", "-u -t 1 -b 5M -l 1448 -6").host("::1"),
        case(
            "UDP IPv6 2 streams bidir",
            "-u -t 1 -b 2M -l 1448 -6 -P 2 --bidir",
        )
        .host("::1"),
        case("UDP bind", "-u -t 1 -b 5M -l 1448 -B 127.0.0.2"),
        case(
            "UDP bind to a device",
            "-u -t 1 -b 5M -l 1448 --bind-dev lo",
        ),
        case(
            "UDP own ports",
            "-u -t 1 -b 5M -l 1448 -P 2 --cport {cport}",
        )
        .check(own_ports),
        case("UDP bound server", "-u -t 1 -b 5M -l 1448").server("-B 127.0.0.1"),
        case("UDP IPv4 server", "-u -t 1 -b 5M -l 1448 -P 2").server("-4"),
        case("UDP kernel pacing", "-u -t 1 -b 20M -l 1448 --fq-rate 100M"),
    ]
}
