//! One client and one server, each in its place, and what their documents must contain.

use std::fmt;
use std::iter;
use std::thread;
use std::time::{Duration, Instant};

use iperf_harness::json::{self, at, int, list};
use iperf_harness::process::wait_for;
use iperf_harness::procfs::listens_on;
use iperf_harness::{Expectation, Finished, HANG, Peer, Problems, checks, pair};
use iperf_lab::{Guest, Place, Program};
use serde_json::Value;

/// Seconds of a test that moved too little and is run again. Most tests last a second, and an emulated processor that others
/// use as well may have done nothing for a test by then.
const LONGER: [u32; 2] = [5, 20];

/// How long an end may take: on an emulated processor beside others, a test of a second has taken more than a minute.
const PATIENCE: Duration = Duration::from_secs(240);

/// A client that takes so long, where programs start within two seconds and tests last one, lacked a processor.
const STARVED: Duration = Duration::from_secs(10);
/// Parts of errors that a server's or a client's limits of a few seconds then lead to.
const TIME_LIMITS: [&str; 4] = [
    "the server is busy running a test",
    "data connections arrived within",
    "timed out while waiting",
    "the client closed the stream",
];

/// The arguments with more and more time; none for a test that an amount ends.
pub(super) fn longer(args: &str) -> impl Iterator<Item = String> + use<> {
    let time = args.find("-t ").map(|at| at + "-t ".len());
    let parts = time.map(|at| {
        let behind = args[at..].find(' ').map_or("", |end| &args[at + end..]);
        (args[..at].to_owned(), behind.to_owned())
    });
    let times = parts
        .into_iter()
        .flat_map(|parts| LONGER.map(|seconds| (parts.clone(), seconds)));
    times.map(|((before, behind), seconds)| format!("{before}{seconds}{behind}"))
}

/// A way from a client to a server.
#[derive(Clone, Debug)]
pub(super) struct Route<'a> {
    pub(super) client: Place<'a>,
    pub(super) server: Place<'a>,
    /// The client's words behind `-c`.
    pub(super) to: String,
    /// The server's words behind `-s`.
    pub(super) listen: String,
    /// A VMM is between the two: neither learns the port of the other's end.
    pub(super) anonymous: bool,
    /// The guest that connects to the server's socket file.
    pub(super) from: Option<Guest>,
}

/// Both ends of a test.
#[derive(Debug)]
pub(super) struct BothEnds {
    pub(super) client: Finished,
    pub(super) server: Finished,
}

impl<'a> Route<'a> {
    pub(super) fn new(client: Place<'a>, to: &str, server: Place<'a>, listen: &str) -> Self {
        Self {
            client,
            server,
            to: to.to_owned(),
            listen: listen.to_owned(),
            anonymous: false,
            from: None,
        }
    }

    /// A VMM is between the two.
    pub(super) fn anonymous(self) -> Self {
        Self {
            anonymous: true,
            ..self
        }
    }

    /// The server listens for what this guest's VMM passes on.
    pub(super) fn from(self, guest: &Guest) -> Self {
        Self {
            from: Some(guest.clone()),
            ..self.anonymous()
        }
    }

    /// Starts a server on `port`.
    pub(super) fn serve(&self, peer: Peer, port: u32, args: &str) -> Program {
        let listen = &self.listen;
        let server = self
            .server
            .start(peer, &format!("-s {listen} -p {port} {args}"));
        if let Some(guest) = &self.from {
            // vhost-device-vsock sends a guest no answer if there is no such file: it would wait.
            let file = guest.server_file(port);
            wait_for(HANG, || listens_on(&file).then_some(()));
        }
        server
    }

    /// Runs a client to its end; until the server listens, it tries again.
    pub(super) fn ask(&self, peer: Peer, port: u32, args: &str) -> Finished {
        let begun = Instant::now();
        loop {
            let end = self.start_client(peer, port, args).finish(PATIENCE);
            let said = format!("{}{}", end.stdout, end.stderr);
            let nobody = ["nothing listens", "Connection refused"]
                .iter()
                .any(|text| said.contains(text));
            if end.succeeded() || !nobody || begun.elapsed() > HANG {
                return end;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Starts a client.
    pub(super) fn start_client(&self, peer: Peer, port: u32, args: &str) -> Program {
        let to = &self.to;
        self.client
            .start(peer, &format!("-c {to} -p {port} {args}"))
    }

    /// One test of ours with ours.
    pub(super) fn meet(&self, port: u32, client_args: &str, server_args: &str) -> BothEnds {
        self.meet_of((Peer::Ours, client_args), (Peer::Ours, server_args), port)
    }

    /// One test.
    pub(super) fn meet_of(
        &self,
        client: (Peer, &str),
        server: (Peer, &str),
        port: u32,
    ) -> BothEnds {
        let serving = self.serve(server.0, port, &format!("-1 {}", server.1));
        // Most servers listen by then, and a client that comes too early costs time.
        thread::sleep(Duration::from_millis(200));
        let client = self.ask(client.0, port, client.1);
        let patience = if client.succeeded() {
            PATIENCE
        } else {
            Duration::from_secs(3)
        };
        BothEnds {
            client,
            server: serving.finish(patience),
        }
    }

    /// One test with documents at both ends, which must report what was requested. It is run again if the machine gave it too
    /// little time to move something on each stream, or to keep to the limits of a handshake.
    pub(super) fn checked(
        &self,
        client: Peer,
        server: Peer,
        port: u32,
        args: &str,
    ) -> Result<(BothEnds, Value, Value), String> {
        let run = |args: &str| {
            let client_args = format!("-J {args}");
            self.meet_of((client, &client_args), (server, "-J"), port)
        };
        let mut args = args.to_owned();
        let mut ends = run(&args);
        let again = longer(&args).chain(iter::repeat(args.clone()));
        for more in again.take(LONGER.len()) {
            if !ends.have_an_idle_stream() && !ends.exceed_a_limit() {
                break;
            }
            ends = run(&more);
            args = more;
        }
        let mut f = Problems::new();
        let (ours, theirs) = (ends.document(&mut f, true), ends.document(&mut f, false));
        let words = pair::words(&format!("{} {args}", self.to));
        let mut expected = Expectation::of(&words).between(client, server);
        expected.tolerance.late_reports = true;
        expected.tolerance.unknown_ports = self.anonymous;
        checks::both(&mut f, (&ours, client), (&theirs, server), &expected);
        f.into_result(&ends).map(|()| (ends, ours, theirs))
    }
}

impl BothEnds {
    /// Whether the client succeeded and reports a stream that moved nothing. A server does not know what its client counted.
    fn have_an_idle_stream(&self) -> bool {
        let idle = |document: Value| {
            let halves = ["/sender/bytes", "/receiver/bytes", "/udp/bytes"];
            let mut streams = list(&document, "/end/streams").iter();
            at(&document, "/error").is_null()
                && streams.any(|stream| halves.iter().any(|half| int(stream, half) == Some(0)))
        };
        self.client.succeeded() && idle(json::parse(&self.client.stdout).unwrap_or_default())
    }

    /// Whether an end reports an error since the machine was too slow for a limit.
    fn exceed_a_limit(&self) -> bool {
        let ends = [&self.client, &self.server];
        let mut limits = TIME_LIMITS.iter();
        self.client.took > STARVED
            && limits.any(|text| ends.iter().any(|end| end.stdout.contains(text)))
    }

    /// One end's document. Both must have ended well.
    pub(super) fn document(&self, f: &mut Problems, client: bool) -> Value {
        let (name, end) = if client {
            ("client", &self.client)
        } else {
            ("server", &self.server)
        };
        f.holds(format!("the {name} ends by itself"), !end.timed_out);
        f.equal(format!("the {name}'s exit code"), end.code(), Some(0));
        f.equal(format!("the {name}'s stderr"), end.stderr.as_str(), "");
        serde_json::from_str(&end.stdout).unwrap_or_else(|e| {
            f.add(format!("the {name}'s output is no JSON document: {e}"));
            Value::Null
        })
    }
}

impl fmt::Display for BothEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.client, self.server)
    }
}
