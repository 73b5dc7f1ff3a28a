//! Every option there is: its names, whether it takes a value, who may use it, and its line in the help.
//!
//! An option belongs to the group of those who may use it, and each group has its own enum, so that whoever gives
//! options their meaning cannot forget one:
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
    /// It takes none.
    Nothing,
    /// It needs one, called so in the help.
    Value(&'static str),
    /// It takes one after `=`, called so in the help; without, it means the second text.
    Maybe(&'static str, &'static str),
}

/// What is to be known about an option before it has a meaning.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) opt: Opt,
    /// What clap knows it by.
    pub(crate) id: &'static str,
    /// Where it is found in the help.
    pub(crate) heading: &'static str,
    /// At most one letter.
    pub(crate) short: &'static [char],
    /// Its name, then other names.
    pub(crate) long: &'static [&'static str],
    pub(crate) takes: Takes,
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
        $($name:ident [$($short:literal)?] [$($long:literal)*] $takes:expr, $help:expr;)*
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
            help: $help,
        },)*)*];
    };
}

use Takes::{Maybe, Nothing, Value};

options! {
    /// What to run.
    Role "What to run" {
        Server ['s'] ["server"] Nothing, "wait for clients";
        Client ['c'] ["client"] Value("HOST[%DEV]"), "test with the server on HOST, over the device DEV";
        Loopback [] ["loopback"] Nothing, "run a server and a client in this process and test between them";
        Help ['h'] ["help"] Nothing, "print this and exit";
        Version ['v'] ["version"] Nothing, "print versions and features and exit";
    }

    /// For both ends.
    Local "Server or client" {
        Port ['p'] ["port"] Value("PORT"), "port to listen on or to connect to, 1 to 65535, or to 4294967295 over vsock [5201]";
        Format ['f'] ["format"] Value("LETTER"), "unit of rates: k, m, g, t for bits, K, M, G, T for bytes [what fits]";
        Interval ['i'] ["interval"] Value("SECONDS"), "time between reports, 0.1 to 60; 0 is only one, at the end [1]";
        Pidfile ['I'] ["pidfile"] Value("FILE"), "write the process id to FILE";
        File ['F'] ["file"] Value("FILE"), "send FILE, or write to FILE what is received";
        Affinity ['A'] ["affinity"] Value("N[,M]"), "run on CPU N, 0 to 1024; a client may choose CPU M for its server";
        Bind ['B'] ["bind"] Value("HOST[%DEV]"), "use the local address HOST, and the device DEV";
        BindDev [] ["bind-dev"] Value("DEV"), "use the local device DEV";
        V4 ['4'] ["version4"] Nothing, "IPv4 only";
        V6 ['6'] ["version6"] Nothing, "IPv6 only";
        Cport [] ["cport"] Value("PORT"), "first local port of a client's data streams, 1 to 65535 [any]; nothing on a server";
        Verbose ['V'] ["verbose"] Nothing, "say more";
        Json ['J'] ["json"] Nothing, "print one JSON document";
        JsonStream [] ["json-stream"] Nothing, "print one JSON object per line, as things happen";
        JsonStreamFull [] ["json-stream-full-output"] Nothing, "with --json-stream, print the whole document at the end too";
        Logfile [] ["logfile"] Value("FILE"), "append output, errors included, to FILE";
        Forceflush [] ["forceflush"] Nothing, "write out after every report";
        Timestamps [] ["timestamps"] Maybe("FORMAT", "%c "), "begin each line with the time, in a format of strftime [%c]";
        RcvTimeout [] ["rcv-timeout"] Value("MS"), "give up after this time without data, 100 to 86400000 [120000]";
        RcvLowat [] ["rcv-lowat"] Value("off|auto|BYTES"), "wake a stream's receiver when so much is there; auto is what comes in a millisecond, and anything below 100 Mbit/s [auto]";
        Threads [] ["threads"] Value("N"), "let the streams of each direction share N threads, 1 to 1024 [a thread for each stream]";
        SndTimeout [] ["snd-timeout"] Value("MS"), "give up on data that stays unacknowledged, up to 86400000; 0 is the system's time [0]";
        Keepalive [] ["cntl-ka"] Maybe("IDLE/INTERVAL/N", ""), "probe a silent control connection after IDLE seconds, every INTERVAL seconds, N times; each part may be left out [the system's]";
        Mptcp ['m'] ["mptcp"] Nothing, "a client's data streams are multipath TCP";
        DebugMost ['d'] [] Nothing, "print debugging information, as --debug=4";
        Debug [] ["debug"] Maybe("LEVEL", "4"), "print debugging information, from little, 1, to all, 4 [4]";
        Pkcs1 [] ["use-pkcs1-padding"] Nothing, "logins are padded as before iperf3 3.17, which is less safe";
        Vsock [] ["vsock"] Nothing, "test between virtual machines and hosts: HOST is a CID (1 is this machine, 2 the host, s4 a sibling) or the path of a VMM's socket, and so is -B on a server";
        NoGso [] ["no-gso"] Nothing, "let the system neither cut nor join datagrams, unless --gsro is given";
        Xbind ['X'] ["xbind"] Value("HOST"), "one more local address of SCTP sockets; may be repeated";
    }

    /// For a server only.
    Server "Server" {
        Daemon ['D'] ["daemon"] Nothing, "run in the background";
        OneOff ['1'] ["one-off"] Nothing, "serve one test, then exit";
        BitrateLimit [] ["server-bitrate-limit"] Value("RATE[/SECONDS]"), "end tests that are faster than this, in bits per second, 0 is no limit [0], on average over so many seconds, 0.1 to 60 or 0 [5]";
        IdleTimeout [] ["idle-timeout"] Value("SECONDS"), "listen anew, or exit with -1, after this long without a test, 1 to 86400 [never]";
        MaxDuration [] ["server-max-duration"] Value("SECONDS"), "refuse longer tests, up to 86400; 0 is no limit [0]";
        PrivateKey [] ["rsa-private-key-path"] Value("FILE"), "key (PEM) for logins; needs --authorized-users-path";
        Users [] ["authorized-users-path"] Value("FILE"), "serve the users in FILE only; needs --rsa-private-key-path";
        Skew [] ["time-skew-threshold"] Value("SECONDS"), "how far the clock of a user may differ, from 1 [10]";
    }

    /// For a client only.
    Client "Client" {
        Udp ['u'] ["udp"] Nothing, "test UDP, not TCP";
        Sctp [] ["sctp"] Nothing, "test SCTP, not TCP";
        Seqpacket [] ["seqpacket"] Nothing, "test vsock by messages (SOCK_SEQPACKET): each block is one; needs this program at both ends";
        Nstreams [] ["nstreams"] Value("N"), "SCTP streams per association, up to 65535 [the system's]";
        ConnectTimeout [] ["connect-timeout"] Value("MS"), "give up connecting after this time; 0 is no limit [0]";
        Bitrate ['b'] ["bitrate" "bandwidth"] Value("RATE[/BURST]"), "bits per second of each stream, 0 is no limit [UDP 1048576, others 0]; with blocks to send in one go, 1 to 1000";
        PacingTimer [] ["pacing-timer"] Value("US"), "microseconds between the timer's ticks on servers before iperf3 3.18 [1000]";
        FqRate [] ["fq-rate"] Value("RATE"), "bits per second of each stream, kept by the system; 0 is no limit [0]";
        NoFqPacing [] ["no-fq-socket-pacing"] Nothing, "deprecated, means --fq-rate 0";
        Time ['t'] ["time"] Value("SECONDS"), "length of the test, up to 86400; 0 is without end [10]";
        Bytes ['n'] ["bytes"] Value("BYTES"), "end after this many bytes, not after a time";
        Blocks ['k'] ["blockcount"] Value("BLOCKS"), "end after this many blocks or datagrams, not after a time";
        Length ['l'] ["length"] Value("BYTES"), "block or datagram, up to 1M, UDP 16 to 65507; 0 is the default [TCP 128K, SCTP 64K, UDP what fits]";
        Parallel ['P'] ["parallel"] Value("N"), "streams at a time, 1 to 128 [1]";
        Reverse ['R'] ["reverse"] Nothing, "the server sends, the client receives";
        Bidir [] ["bidir"] Nothing, "both send at the same time";
        Window ['w'] ["window"] Value("BYTES"), "socket buffers, up to 512M; 0 is the system's size [0]";
        Congestion ['C'] ["congestion" "linux-congestion"] Value("NAME"), "congestion control of TCP [the system's]";
        Mss ['M'] ["set-mss"] Value("BYTES"), "largest segment of TCP, up to 32767; 0 is the system's [0]";
        NoDelay ['N'] ["no-delay"] Nothing, "send small segments at once (TCP_NODELAY)";
        Tos ['S'] ["tos"] Value("N"), "type of service, 0 to 255, also in hexadecimal (0x) and octal (0) [0]";
        Dscp [] ["dscp"] Value("N|NAME"), "differentiated services, 0 to 63 or a name as af11, cs1, ef [0]";
        FlowLabel ['L'] ["flowlabel"] Value("N"), "flow label of IPv6, 1 to 0xfffff [the system's]";
        ZeroCopy ['Z'] ["zerocopy"] Maybe("MODE", "auto"), "send without copying, by sendfile, splice or msg (MSG_ZEROCOPY) [what suits], and receive by mmap";
        ZeroCopyRx [] ["zerocopy-rx"] Value("MODE"), "receive without copying, by mmap, trunc or splice; or with, off [with -Z mmap, else off]";
        SkipRxCopy [] ["skip-rx-copy"] Nothing, "receive without copying, as --zerocopy-rx=trunc";
        ZeroCopyStrict [] ["zerocopy-strict"] Nothing, "fail if more than 5 % of the bytes are copied after all";
        Verify [] ["verify"] Nothing, "send a pattern and check every byte that arrives; needs this program at both ends";
        Omit ['O'] ["omit"] Value("SECONDS"), "do not count the first seconds, up to 600 [0]";
        Title ['T'] ["title"] Value("TEXT"), "begin each line with TEXT";
        ExtraData [] ["extra-data"] Value("TEXT"), "put TEXT into the JSON of both ends";
        GetServerOutput [] ["get-server-output"] Nothing, "print the output of the server too";
        Counters64 [] ["udp-counters-64bit"] Nothing, "count datagrams with 64 bits";
        Gsro [] ["gsro"] Nothing, "let the system cut and join datagrams (GSO, GRO)";
        RepeatingPayload [] ["repeating-payload"] Nothing, "send digits over and over, not random bytes";
        DontFragment [] ["dont-fragment"] Nothing, "forbid fragments of UDP over IPv4";
        Username [] ["username"] Value("NAME"), "log in as NAME; needs --rsa-public-key-path, and IPERF3_PASSWORD or a terminal";
        PublicKey [] ["rsa-public-key-path"] Value("FILE"), "key (PEM) of the server for logins; needs --username";
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
