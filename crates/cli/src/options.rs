//! The table of options: their names, whether they take a value, which end may use them, and their line in the help.
//!
//! Everything about an option is generated from its row: the parser, the help, the man page and the completions.
//! Each group of options has its own enum, so that the code that applies them cannot forget one:
//!
//! ```text
//! Role    what to run        ──► resolve/mod.rs
//! Local   either end         ──► resolve/local.rs
//! Server  a server only      ──► resolve/server.rs
//! Client  a client only      ──► resolve/client.rs
//! ```

/// One option of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opt {
    /// What to run.
    Role(Role),
    /// For both ends.
    Local(Local),
    /// For a server only.
    Server(Server),
    /// For a client only.
    Client(Client),
}

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// None.
    Nothing,
    /// A value with this name in the help.
    Value(&'static str),
    /// An optional value after `=` with this name in the help, and its default.
    Maybe(&'static str, &'static str),
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) opt: Opt,
    /// The ID of its `clap::Arg`.
    pub(crate) id: &'static str,
    /// Its heading in the help.
    pub(crate) heading: &'static str,
    /// One letter or none.
    pub(crate) short: &'static [char],
    /// Its name, then its aliases.
    pub(crate) long: &'static [&'static str],
    pub(crate) takes: Takes,
    /// Values that a shell can complete; other values may be valid too.
    pub(crate) words: &'static [&'static str],
    /// Its line in the help: what it does, the unit, the range and, in brackets, the default.
    pub(crate) help: &'static str,
}

impl Spec {
    /// Its names, for messages.
    pub(crate) fn name(&self) -> String {
        let short = self.short.iter().map(|letter| format!("-{letter}"));
        let long = self.long.iter().take(1).map(|name| format!("--{name}"));
        short.chain(long).collect::<Vec<_>>().join("/")
    }
}

macro_rules! options {
    ($($(#[$doc:meta])* $group:ident $heading:literal {
        $($name:ident [$($short:literal)?] [$($long:literal)*] $takes:expr, $help:expr
            $(, [$($word:literal)*])?;)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub(crate) enum $group { $($name),* }
        )*

        /// Every option, in the order of the help.
        pub(crate) const OPTIONS: &[Spec] = &[$($(Spec {
            opt: Opt::$group($group::$name),
            id: stringify!($name),
            heading: $heading,
            short: &[$($short)?],
            long: &[$($long),*],
            takes: $takes,
            words: &[$($($word),*)?],
            help: $help,
        },)*)*];
    };
}

use Takes::{Maybe, Nothing, Value};

options! {
    /// What to run.
    Role "What to run" {
        Server ['s'] ["server"] Nothing, "run a server: wait for clients";
        Client ['c'] ["client"] Value("HOST[%DEV]"), "run a client: test with the server on HOST, through network device DEV";
        Loopback [] ["loopback"] Nothing, "run a server and a client in one process and test between them";
        Help ['h'] ["help"] Nothing, "print this help and exit";
        Version ['v'] ["version"] Nothing, "print version, system and features and exit";
        ZerocopyCheck [] ["zerocopy-check"] Nothing, "print which copies this machine can avoid, and what is missing, and exit (with -J as JSON)";
    }

    /// For both ends.
    Local "Server or client" {
        Port ['p'] ["port"] Value("PORT"), "port to listen on or connect to, 1 to 65535; over vsock up to 4294967295 [5201]";
        Format ['f'] ["format"] Value("UNIT"), "unit of rates: k, m, g, t for Kbit/s to Tbit/s, K, M, G, T for KByte/s to TByte/s [automatic]", ["k" "m" "g" "t" "K" "M" "G" "T"];
        Interval ['i'] ["interval"] Value("SECONDS"), "time between reports, 0.1 to 60 seconds; 0: only the final report [1]";
        Pidfile ['I'] ["pidfile"] Value("FILE"), "write the process ID to FILE";
        File ['F'] ["file"] Value("FILE"), "send the contents of FILE, or store received data in FILE";
        Affinity ['A'] ["affinity"] Value("N[,M]"), "pin to CPU N, 0 to 1024; several (0-3, 0+2-5): pin data threads to them in turn; incoming: to the CPU that handles their packets. A client can pin its server's test with M", ["incoming"];
        Bind ['B'] ["bind"] Value("HOST[%DEV]"), "bind to the local address HOST, and to network device DEV";
        BindDev [] ["bind-dev"] Value("DEV"), "bind to network device DEV (SO_BINDTODEVICE)";
        V4 ['4'] ["version4"] Nothing, "use IPv4 only";
        V6 ['6'] ["version6"] Nothing, "use IPv6 only";
        Cport [] ["cport"] Value("PORT"), "first local port of a client's data streams, 1 to 65535; no effect on a server [any free port]";
        Verbose ['V'] ["verbose"] Nothing, "print more details";
        Limits [] ["limits"] Nothing, "print what limited the test (also with -V, and always in JSON)";
        Json ['J'] ["json"] Nothing, "print one JSON document instead of text";
        JsonStream [] ["json-stream"] Nothing, "print one JSON object per line as the test proceeds";
        JsonStreamFull [] ["json-stream-full-output"] Nothing, "with --json-stream: also print the whole document at the end";
        Logfile [] ["logfile"] Value("FILE"), "append output and errors to FILE";
        Forceflush [] ["forceflush"] Nothing, "flush output after every report";
        Timestamps [] ["timestamps"] Maybe("FORMAT", "%c "), "prefix each line with the time (strftime format) [%c]";
        RcvTimeout [] ["rcv-timeout"] Value("MS"), "end the test after MS milliseconds without data, 100 to 86400000 [120000]";
        RcvLowat [] ["rcv-lowat"] Value("off|auto|BYTES"), "wake a receiver only when BYTES have arrived; auto: 1 ms of data, and any data below 100 Mbit/s [auto]", ["off" "auto"];
        Sndbuf [] ["sndbuf"] Value("off|auto|BYTES"), "size of the send buffers of TCP streams; off: the kernel's choice; auto: that, but small over loopback [auto]", ["off" "auto"];
        Io [] ["io"] Value("calls|uring"), "how TCP streams send and receive; calls: a system call per block; uring: through io_uring, if the kernel allows it [calls]", ["calls" "uring"];
        Threads [] ["threads"] Value("N"), "share N threads among the streams of each direction, 1 to 1024 [one thread per stream]";
        SndTimeout [] ["snd-timeout"] Value("MS"), "end the test when data stays unacknowledged for MS milliseconds, up to 86400000; 0: system default [0]";
        Keepalive [] ["cntl-ka"] Maybe("IDLE/INTERVAL/N", ""), "probe a silent control connection after IDLE seconds, every INTERVAL seconds, N times; each part is optional [system defaults]";
        Mptcp ['m'] ["mptcp"] Nothing, "use multipath TCP for a client's data streams";
        DebugMost ['d'] [] Nothing, "same as --debug=4";
        Debug [] ["debug"] Maybe("LEVEL", "4"), "log to stderr, LEVEL 1 (least) to 4 (most) [4]", ["1" "2" "3" "4"];
        Pkcs1 [] ["use-pkcs1-padding"] Nothing, "pad logins as iperf3 before 3.17 does (PKCS #1 v1.5, less secure)";
        Vsock [] ["vsock"] Nothing, "test over vsock: HOST (and -B on a server) is a CID (1: this machine, 2: the host, s4: sibling 4) or the path of a VMM's Unix socket";
        NoGso [] ["no-gso"] Nothing, "disable UDP GSO and GRO unless --gsro is given";
        NoEnvironment [] ["no-environment"] Nothing, "leave this machine's environment out of the JSON, and do not send it to the peer";
        Html [] ["html"] Value("FILE"), "also write each result to FILE as a page with plots";
        MetricsFile [] ["metrics-file"] Value("FILE"), "also write each result to FILE for Prometheus, as node_exporter's textfile collector reads it";
        Hlog [] ["hlog"] Value("FILE"), "with --rr or --crr: also write the latencies of each interval to FILE, as an HdrHistogram log";
        Influx [] ["influx"] Value("FILE"), "also append each result to FILE in InfluxDB's line protocol";
        Xbind ['X'] ["xbind"] Value("HOST"), "bind SCTP sockets to HOST as well; can be repeated";
    }

    /// For a server only.
    Server "Server" {
        Daemon ['D'] ["daemon"] Nothing, "run in the background";
        OneOff ['1'] ["one-off"] Nothing, "run one test, then exit";
        Tests [] ["tests"] Value("N"), "run up to N tests at the same time, 1 to 100000; 0: as many as descriptors and threads allow [1]";
        TestsPerClient [] ["tests-per-client"] Value("N"), "run up to N tests of each client address at the same time; 0: no limit [0]";
        BitrateLimit [] ["server-bitrate-limit"] Value("RATE[/SECONDS]"), "end tests that together exceed RATE bits per second; 0: no limit [0]; SECONDS: period of the average, 0.1 to 60, or 0 for the whole test [5]";
        ClientBitrateLimit [] ["client-bitrate-limit"] Value("RATE[/SECONDS]"), "the same for the tests of each client address [0]";
        Metrics [] ["metrics"] Value("ADDR:PORT"), "serve metrics for Prometheus at http://ADDR:PORT/metrics, and /health and /ready";
        LogFormat [] ["log-format"] Value("FORMAT"), "text: the usual output; json: one line of JSON per test instead [text]", ["text" "json"];
        Drain [] ["drain"] Value("SECONDS"), "on SIGTERM, refuse new tests and let running ones continue for up to SECONDS, up to 86400 [0: end them at once]";
        OptionsFile [] ["options-file"] Value("FILE"), "also read limits and logins from FILE, one option per line, and again on SIGHUP";
        IdleTimeout [] ["idle-timeout"] Value("SECONDS"), "with -1: exit after SECONDS without a test, 1 to 86400 [never]";
        MaxDuration [] ["server-max-duration"] Value("SECONDS"), "refuse tests longer than SECONDS, up to 86400; 0: no limit [0]";
        PrivateKey [] ["rsa-private-key-path"] Value("FILE"), "RSA private key (PEM) that decrypts logins; needs --authorized-users-path";
        Users [] ["authorized-users-path"] Value("FILE"), "serve only the users listed in FILE; needs --rsa-private-key-path";
        Skew [] ["time-skew-threshold"] Value("SECONDS"), "reject logins whose clock differs by more than SECONDS, at least 1 [10]";
    }

    /// For a client only.
    Client "Client" {
        Udp ['u'] ["udp"] Nothing, "use UDP instead of TCP";
        Sctp [] ["sctp"] Nothing, "use SCTP instead of TCP";
        Seqpacket [] ["seqpacket"] Nothing, "use vsock SOCK_SEQPACKET: each block is one message; both ends must be this program";
        Nstreams [] ["nstreams"] Value("N"), "SCTP streams per association, up to 65535 [system default]";
        ConnectTimeout [] ["connect-timeout"] Value("MS"), "give up connecting after MS milliseconds; 0: after 120 seconds [0]";
        Wait [] ["wait"] Value("SECONDS"), "retry for SECONDS while the server is busy or can't be reached, up to 86400 [0: fail at once]";
        Bitrate ['b'] ["bitrate" "bandwidth"] Value("RATE[/BURST]"), "target rate of each stream in bits per second; 0: no limit [UDP 1048576, others 0]; BURST: blocks sent back to back, 1 to 1000";
        PacingTimer [] ["pacing-timer"] Value("US"), "interval of the pacing timer in microseconds, for servers before iperf3 3.18 [1000]";
        FqRate [] ["fq-rate"] Value("RATE"), "rate of each stream in bits per second, paced by the kernel; 0: no limit [0]";
        NoFqPacing [] ["no-fq-socket-pacing"] Nothing, "deprecated: same as --fq-rate 0";
        Time ['t'] ["time"] Value("SECONDS"), "duration of the test, up to 86400 seconds; 0: endless [10]";
        Bytes ['n'] ["bytes"] Value("BYTES"), "end the test after BYTES instead of a duration";
        Blocks ['k'] ["blockcount"] Value("BLOCKS"), "end the test after BLOCKS blocks or datagrams instead of a duration";
        Length ['l'] ["length"] Value("BYTES"), "size of a block, up to 1M (16M over TCP and vsock to a server of this program), or of a UDP datagram, 16 to 65507; 0: default [TCP 128K, SCTP 64K, UDP what fits the path]";
        Parallel ['P'] ["parallel"] Value("N"), "number of parallel streams, 1 to 128, or up to 10000 to a server of this program [1]";
        Reverse ['R'] ["reverse"] Nothing, "reverse the direction: the server sends, the client receives";
        Bidir [] ["bidir"] Nothing, "send in both directions at the same time";
        Window ['w'] ["window"] Value("BYTES"), "socket buffer sizes, up to 512M; 0: system default [0]";
        Congestion ['C'] ["congestion" "linux-congestion"] Value("NAME"), "TCP congestion control algorithm [system default]";
        Mss ['M'] ["set-mss"] Value("BYTES"), "maximum TCP segment size, up to 32767; 0: system default [0]";
        NoDelay ['N'] ["no-delay"] Nothing, "set TCP_NODELAY: send small segments at once";
        Tos ['S'] ["tos"] Value("N"), "IP type of service, 0 to 255; also hexadecimal (0x) or octal (0) [0]";
        Dscp [] ["dscp"] Value("N|NAME"), "differentiated services code point, 0 to 63 or a name such as af11, cs1, ef [0]";
        FlowLabel ['L'] ["flowlabel"] Value("N"), "IPv6 flow label, 1 to 0xfffff [system default]";
        ZeroCopy ['Z'] ["zerocopy"] Maybe("MODE", "auto"), "send without copying: sendfile, splice or msg (MSG_ZEROCOPY) [best available]; the other end receives by mmap where it can", ["sendfile" "splice" "msg"];
        ZeroCopyRx [] ["zerocopy-rx"] Value("MODE"), "receive without copying: mmap, trunc or splice; off: copy [mmap with -Z, else off]", ["mmap" "trunc" "splice" "off"];
        SkipRxCopy [] ["skip-rx-copy"] Nothing, "same as --zerocopy-rx=trunc";
        ZeroCopyStrict [] ["zerocopy-strict"] Nothing, "fail the test if more than 5 % of the bytes were copied after all";
        Verify [] ["verify"] Nothing, "send a pattern and check every received byte; both ends must be this program";
        Rr [] ["rr"] Maybe("REQ[,RSP]", ""), "measure latency: send requests of REQ bytes and wait for responses of RSP bytes, up to 1M [1,1; UDP 8,8]; with -n: that many transactions; both ends must be this program";
        Crr [] ["crr"] Maybe("REQ[,RSP]", ""), "the same with a connection for each transaction: connect, request, response, close; over TCP, MPTCP and vsock [1,1]";
        Pipeline [] ["pipeline"] Value("N"), "with --rr: requests in flight on each connection, 1 to 1024 [1]";
        Rate [] ["rate"] Value("N"), "with --rr or --crr: send N requests per second on each connection by a schedule, up to 1000000, and measure from the time when each was due";
        BusyPoll [] ["busy-poll"] Value("US"), "with --rr or --crr: spin on sockets for US microseconds, up to 1000000, before waiting, on both ends [0]";
        RrTimeout [] ["rr-timeout"] Value("MS"), "with --rr over UDP: count a request as lost after MS milliseconds, 1 to 60000 [1000]";
        Probe [] ["probe"] Maybe("RATE", "50"), "measure latency under load: send RATE probes per second, 1 to 1000, beside the test, and while the path is idle before and after it [50]";
        ProbeDscp [] ["probe-dscp"] Value("N|NAME"), "with --probe: differentiated services code point of the probes and their answers, 0 to 63 or a name such as ef [that of the test]";
        OneWay [] ["one-way"] Nothing, "with -u: measure the delay of every datagram from the sender to the receiver; both ends must be this program";
        Omit ['O'] ["omit"] Value("SECONDS"), "exclude the first SECONDS from the results, up to 600 [0]";
        Title ['T'] ["title"] Value("TEXT"), "prefix each line with TEXT";
        ExtraData [] ["extra-data"] Value("TEXT"), "include TEXT in the JSON of both ends";
        GetServerOutput [] ["get-server-output"] Nothing, "print the server's output as well";
        Counters64 [] ["udp-counters-64bit"] Nothing, "use 64-bit packet counters in UDP datagrams";
        Gsro [] ["gsro"] Nothing, "use UDP GSO and GRO on both ends";
        RepeatingPayload [] ["repeating-payload"] Nothing, "send repeating digits instead of random bytes";
        DontFragment [] ["dont-fragment"] Nothing, "set the Don't Fragment bit (UDP over IPv4)";
        Username [] ["username"] Value("NAME"), "log in as NAME; needs --rsa-public-key-path and a password from IPERF3_PASSWORD or the terminal";
        PublicKey [] ["rsa-public-key-path"] Value("FILE"), "the server's RSA public key (PEM) that encrypts logins; needs --username";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_options_share_a_name() {
        fn all_differ<T: std::hash::Hash + Eq>(names: impl Iterator<Item = T>) -> bool {
            let mut known = HashSet::new();
            names.into_iter().all(|name| known.insert(name))
        }
        assert!(all_differ(OPTIONS.iter().map(|spec| spec.id)));
        assert!(all_differ(OPTIONS.iter().flat_map(|spec| spec.short)));
        assert!(all_differ(OPTIONS.iter().flat_map(|spec| spec.long)));
        assert!(
            OPTIONS
                .iter()
                .all(|spec| !(spec.short.is_empty() && spec.long.is_empty()))
        );
    }
}
