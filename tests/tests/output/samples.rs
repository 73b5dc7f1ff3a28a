//! The tables: commands whose outputs were recorded, and commands that a real pair runs beside ours.

/// A command pair, and the files that hold what a real client and a real server wrote for it.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) client: &'static str,
    pub(super) server: &'static str,
    pub(super) client_file: &'static str,
    pub(super) server_file: &'static str,
}

pub(super) const fn sample(
    client: &'static str,
    server: &'static str,
    client_file: &'static str,
    server_file: &'static str,
) -> Sample {
    Sample {
        client,
        server,
        client_file,
        server_file,
    }
}

/// Which files were recorded with which TCP commands. An empty name: that end was not recorded.
pub(super) const TCP: [Sample; 42] = [
    sample("-t 2", "", "tcp-322.txt", "server-tcp-322.txt"),
    sample(
        "-t 2 -R",
        "",
        "tcp-reverse-322.txt",
        "server-tcp-reverse-322.txt",
    ),
    sample(
        "-t 2 -P 2 -b 20M",
        "",
        "tcp-p2-322.txt",
        "server-tcp-p2-322.txt",
    ),
    sample(
        "-t 2 --bidir -b 20M",
        "",
        "tcp-bidir-322.txt",
        "server-tcp-bidir-322.txt",
    ),
    sample(
        "-t 2 --bidir -P 2 -b 20M",
        "",
        "tcp-bidir-p2-322.txt",
        "server-tcp-bidir-p2-322.txt",
    ),
    sample(
        "-t 2 -V -b 20M",
        "-V",
        "tcp-verbose-322.txt",
        "server-tcp-verbose-322.txt",
    ),
    sample(
        "-t 2 -R -V -b 20M",
        "-V",
        "tcp-reverse-verbose-322.txt",
        "server-tcp-reverse-verbose-322.txt",
    ),
    sample(
        "-t 1 --bidir -V -b 20M",
        "-V",
        "tcp-bidir-verbose-322.txt",
        "server-tcp-bidir-verbose-322.txt",
    ),
    sample("-n 1M -V -i 0.5", "", "tcp-bytes-verbose-322.txt", ""),
    sample(
        "-t 2 -O 1 -b 20M",
        "",
        "tcp-omit-322.txt",
        "server-tcp-omit-322.txt",
    ),
    sample(
        "-t 2 -O 1 -b 20M -P 2",
        "",
        "tcp-omit-p2-322.txt",
        "server-tcp-omit-p2-322.txt",
    ),
    sample(
        "-t 2 -i 0 -b 20M",
        "",
        "tcp-i0-322.txt",
        "server-tcp-i0-322.txt",
    ),
    sample(
        "-t 1 -i 0.5 -b 20M",
        "-i 0.5",
        "tcp-i05-322.txt",
        "server-tcp-i05-322.txt",
    ),
    sample("-t 1 -f k -b 20M", "", "tcp-format-kbits-322.txt", ""),
    sample("-t 1 -f m -b 20M", "", "tcp-format-mbits-322.txt", ""),
    sample("-t 1 -f g -b 20M", "", "tcp-format-gbits-322.txt", ""),
    sample("-t 1 -f t -b 20M", "", "tcp-format-tbits-322.txt", ""),
    sample("-t 1 -f K -b 20M", "", "tcp-format-Kbytes-322.txt", ""),
    sample("-t 1 -f M -b 20M", "", "tcp-format-Mbytes-322.txt", ""),
    sample("-t 1 -f G -b 20M", "", "tcp-format-Gbytes-322.txt", ""),
    sample("-t 1 -f T -b 20M", "", "tcp-format-Tbytes-322.txt", ""),
    sample(
        "-t 1 -b 20M --timestamps",
        "--timestamps",
        "tcp-timestamps-322.txt",
        "server-tcp-timestamps-322.txt",
    ),
    sample(
        "-t 1 -b 20M '--timestamps=%H:%M:%S '",
        "",
        "tcp-timestamps-format-322.txt",
        "",
    ),
    sample(
        "-t 1 -b 20M -T 'my title'",
        "",
        "tcp-title-322.txt",
        "server-tcp-title-322.txt",
    ),
    sample(
        "-t 1 -b 20M --get-server-output",
        "",
        "tcp-get-server-output-322.txt",
        "",
    ),
    sample(
        "-t 1 -b 20M --get-server-output",
        "-J",
        "tcp-get-server-output-json-322.txt",
        "",
    ),
    sample(
        "-F f.bin",
        "-F recv.bin",
        "tcp-file-322.txt",
        "server-tcp-file-322.txt",
    ),
    sample("-J -t 2", "-J", "tcp-322.json", "server-tcp-322.json"),
    sample(
        "-J -t 2 -R",
        "-J",
        "tcp-reverse-322.json",
        "server-tcp-reverse-322.json",
    ),
    sample("-J -t 2 -P 2", "", "tcp-p2-322.json", ""),
    sample(
        "-J -t 2 --bidir -P 2",
        "-J",
        "tcp-bidir-p2-322.json",
        "server-tcp-bidir-p2-322.json",
    ),
    sample("-J -t 2 -O 1", "", "tcp-omit-322.json", ""),
    sample("-J -t 2 -i 0 -b 10M", "", "tcp-i0-322.json", ""),
    sample(
        "-J -F f.bin",
        "-J -F recv.bin",
        "tcp-file-322.json",
        "server-tcp-file-322.json",
    ),
    sample(
        "-J -t 1 -T 'my title' --extra-data xd --get-server-output -b 2M",
        "-J",
        "tcp-title-extra-server-json-322.json",
        "server-tcp-title-extra-server-json-322.json",
    ),
    sample(
        "-J -t 1 --get-server-output -b 2M",
        "",
        "tcp-server-text-322.json",
        "",
    ),
    sample(
        "-J -t 1 -P 2 -N -M 1400 -w 256K -b 50M/4 --fq-rate 1G -S 0x10 -C cubic",
        "",
        "tcp-many-options-322.json",
        "",
    ),
    sample(
        "--json-stream -t 2",
        "--json-stream",
        "tcp-json-stream-322.jsonl",
        "server-tcp-json-stream-322.jsonl",
    ),
    sample(
        "--json-stream -t 2 --bidir",
        "",
        "tcp-bidir-json-stream-322.jsonl",
        "",
    ),
    sample(
        "--json-stream --json-stream-full-output -t 2",
        "",
        "tcp-json-stream-full-322.jsonl",
        "",
    ),
    sample(
        "--json-stream -t 1 --get-server-output -b 2M",
        "-J",
        "tcp-json-stream-server-output-322.jsonl",
        "",
    ),
    sample(
        "--json-stream -t 1 --get-server-output -b 2M",
        "",
        "tcp-json-stream-server-text-322.jsonl",
        "",
    ),
];

/// And with which UDP commands.
pub(super) const UDP: [Sample; 15] = [
    sample(
        "-u -b 0 -l 1400 -t 2",
        "",
        "udp-loss-322.txt",
        "server-udp-loss-322.txt",
    ),
    sample("-u -t 2 -l 1000", "", "udp-322.txt", "server-udp-322.txt"),
    sample(
        "-u -t 2 -R -l 1000",
        "",
        "udp-reverse-322.txt",
        "server-udp-reverse-322.txt",
    ),
    sample(
        "-u -t 2 -P 2 -l 1000",
        "",
        "udp-p2-322.txt",
        "server-udp-p2-322.txt",
    ),
    sample(
        "-u -t 2 -R -P 2 -l 1000",
        "",
        "udp-reverse-p2-322.txt",
        "server-udp-reverse-p2-322.txt",
    ),
    sample(
        "-u -t 2 --bidir -l 1000",
        "",
        "udp-bidir-322.txt",
        "server-udp-bidir-322.txt",
    ),
    sample(
        "-u -t 2 --bidir -P 2 -l 1000",
        "",
        "udp-bidir-p2-322.txt",
        "server-udp-bidir-p2-322.txt",
    ),
    sample(
        "-u -t 2 -V -l 1000",
        "-V",
        "udp-verbose-322.txt",
        "server-udp-verbose-322.txt",
    ),
    sample(
        "-u -t 2 -O 1 -l 1000",
        "",
        "udp-omit-322.txt",
        "server-udp-omit-322.txt",
    ),
    sample("-J -u -t 2", "-J", "udp-322.json", "server-udp-322.json"),
    sample(
        "-J -u -t 2 -R",
        "-J",
        "udp-reverse-322.json",
        "server-udp-reverse-322.json",
    ),
    sample(
        "-J -u -t 2 --bidir",
        "-J",
        "udp-bidir-322.json",
        "server-udp-bidir-322.json",
    ),
    sample("-J -u -t 2 -O 1", "", "udp-omit-322.json", ""),
    sample(
        "-J -u -t 2 --gsro -l 1200 -b 10M",
        "",
        "udp-gsro-322.json",
        "",
    ),
    sample(
        "--json-stream -u -t 2 -R",
        "",
        "udp-json-stream-322.jsonl",
        "",
    ),
];

/// Commands that were not recorded; a real pair is run beside ours.
///
/// With `-R` they run for two seconds: the only report of a one-second test comes after the results, and then the
/// real client's header has columns that its lines do not have.
pub(super) const LIVE: [(&str, &str); 39] = [
    ("-t 2 -R -P 2 -b 20M", ""),
    ("-t 2 -R -P 2 -b 20M -V", "-V"),
    ("-t 1 -P 2 -b 20M -V", "-V"),
    ("-t 1 --bidir -P 2 -b 20M -V", "-V"),
    ("-t 1 -O 1 -R -b 20M", ""),
    ("-t 1 -O 1 --bidir -b 20M", ""),
    ("-t 1 -i 0 -P 2 -b 20M", "-i 0"),
    ("-t 1 -i 0 -O 1 -V -b 20M", "-i 0 -V"),
    ("-k 10 -V", "-V"),
    // Longer than an interval: when the first is printed at the end, a real client may already have the server's
    // results, and then writes the heading of a sender over it.
    ("-n 3M -R -V -b 20M", "-V"),
    ("-t 1 -b 20M -V -M 1400 -w 64K -S 0x20", "-V"),
    ("-t 2 -b 20M -R --get-server-output", ""),
    ("-t 1 -b 20M -V --get-server-output", "-V"),
    (
        "-t 1 -b 20M -T 'my title' --timestamps",
        "--timestamps=%H:%M:%S",
    ),
    ("-F f.bin -V", "-F recv.bin -V"),
    ("-t 2 -R -F recv.bin -b 5M", "-F f.bin"),
    ("-J -t 1 --bidir -b 20M -M 1400", "-J"),
    ("-J -n 1M -R", "-J"),
    ("-J -k 16 -P 2 -l 64K -O 1", "-J"),
    (
        "--json-stream -t 1 -R -P 2 -b 20M",
        "--json-stream --json-stream-full-output",
    ),
    ("-u -t 2 -R -P 2 -l 1000 -V", "-V"),
    ("-u -t 1 --bidir -P 2 -l 1000 -V", "-V"),
    ("-u -k 100 -l 1000 -b 8M -V", "-V"),
    ("-u -t 1 -l 1000 -b 8M/10 -V --dscp ef", "-V"),
    ("-u -t 1 -i 0 -l 1000 -P 2", ""),
    ("-u -t 1 -l 1000 --get-server-output", ""),
    ("-u -t 1 -l 1000 --get-server-output -J", ""),
    ("-u -t 1 -O 1 -P 2 -l 1000 -J", "-J"),
    (
        "-u -t 1 --bidir --json-stream -l 1000 --udp-counters-64bit",
        "--json-stream",
    ),
    ("-m -t 1 -b 20M -J", "-J"),
    ("-t 1 --bidir -b 20M --get-server-output", ""),
    ("-t 1 --bidir -P 2 -b 20M -V --get-server-output", "-J"),
    ("-u -t 1 --bidir -l 1000 --get-server-output", ""),
    (
        "-t 1 -b 20M -V -T 'my title' --timestamps=%H:%M:%S",
        "-V --timestamps=%H:%M:%S",
    ),
    ("-u -t 1 -V -T 'my title'", ""),
    ("-t 1 -b 20M -Z", ""),
    ("-t 2 -R -P 2 -b 20M -Z", ""),
    ("-t 1 -b 20M --skip-rx-copy", ""),
    ("-t 2 -R -b 20M -Z --skip-rx-copy", ""),
];
