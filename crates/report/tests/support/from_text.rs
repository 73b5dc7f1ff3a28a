//! Events that make a run print a given text of iperf3's.
//!
//! The text has rounded numbers. Times and bytes are chosen within what rounds to them so that the rates come out right
//! as well.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use iperf_model::{
    BitRate, ByteTotals, CpuUsage, DatagramSample, DatagramTotals, Direction, Event, FileProgress,
    Interval, Limit, Peer, Role, ServerOutput, SocketName, StreamInfo, StreamInterval,
    StreamOutcome, Summary, TcpSample, TcpTotals, TestBegan, TestConfig, TestStarted, Transport,
};
use iperf_report::ReportOptions;
use serde_json::Value;

use super::outcomes::{self, counted};
use super::row::{Row, amount};
use super::{micros, options, sample};

/// The options of a run, from the command lines in the samples' index.
pub struct Run {
    pub config: TestConfig,
    pub options: ReportOptions,
    interval: Option<Duration>,
}

impl Run {
    pub fn of(name: &str) -> Self {
        let index: Value = serde_json::from_str(&sample("index.json")).unwrap();
        let entries = index.as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["file"] == name).unwrap();
        let args = entry["args"]
            .as_str()
            .unwrap()
            .replace("my title", "my_title");
        let is_client = entry["who"] == "client";
        // A server's own words come before those of its client.
        let (own, client) = match args.split_once("(client:") {
            Some((own, client)) => (own, client.trim_end_matches(')')),
            None => (args.as_str(), args.as_str()),
        };
        let mut run = Self {
            config: config(client),
            options: options(is_client),
            interval: Some(Duration::from_secs(1)),
        };
        let mut words = own.split(' ');
        while let Some(word) = words.next() {
            match word {
                "-V" => run.options.verbose = true,
                "-f" => run.options.format = words.next().unwrap().chars().next(),
                "-i" => {
                    let seconds: f64 = words.next().unwrap().parse().unwrap();
                    run.interval = (seconds > 0.0).then(|| micros(seconds));
                }
                "--timestamps" => run.options.timestamps = Some("%c ".into()),
                "--timestamps=%H:%M:%S" => run.options.timestamps = Some("%H:%M:%S ".into()),
                _ => {}
            }
        }
        run
    }

    /// The length of what the lines of the sample begin with before their text.
    pub fn stamp_length(&self) -> usize {
        match self.options.timestamps.as_deref() {
            Some("%c ") => "Sun Nov 22 17:38:08 2026 ".len(),
            Some(_) => "17:38:10 ".len(),
            None => 0,
        }
    }
}

fn config(args: &str) -> TestConfig {
    let words: Vec<_> = args.split_whitespace().collect();
    let after = |flag: &str| {
        let at = words.iter().position(|word| *word == flag)?;
        Some(words[at + 1])
    };
    let has = |flag: &str| words.contains(&flag);
    let mut config = TestConfig::new(if has("-u") {
        Transport::Udp
    } else {
        Transport::Tcp
    });
    if has("-R") {
        config.direction = Direction::Reverse;
    } else if has("--bidir") {
        config.direction = Direction::Bidirectional;
    }
    if let Some(streams) = after("-P") {
        config.streams = streams.parse().unwrap();
    }
    if let Some(seconds) = after("-t") {
        config.limit = Limit::Seconds(seconds.parse().unwrap());
    }
    if after("-n") == Some("1M") {
        config.limit = Limit::Bytes(1 << 20);
    }
    config.omit = after("-O").map_or(0, |omit| omit.parse().unwrap());
    config.pacing.rate = match after("-b") {
        Some("0") => None,
        Some("2M") => Some(2_000_000),
        Some("20M") => Some(20_000_000),
        None => (config.transport == Transport::Udp).then_some(1 << 20),
        other => panic!("{other:?}"),
    }
    .map(BitRate::new);
    if let Some(block) = after("-l") {
        config.block = block.parse().unwrap();
    }
    config.title = after("-T").map(|title| title.replace('_', " "));
    config.get_server_output = has("--get-server-output");
    config
}

/// The events behind a text without stamps and titles.
pub fn events(run: &Run, text: &str) -> Vec<Event> {
    let is_client = run.options.is_client;
    let config = Arc::new(run.config.clone());
    let mut lines = text.lines().peekable();
    let mut events = Vec::new();
    if is_client {
        events.push(Event::ControlConnected {
            mss: after(text, "Control connection MSS ").map(|mss| mss.parse().unwrap()),
            derived_block: None,
        });
    } else {
        events.push(listening(text));
    }
    events.push(Event::TestBegan(began(text, &config)));
    // A server's output within the client's has its own streams; it follows the summary.
    while lines
        .next_if(|line| !line.starts_with("[ ID]"))
        .is_some_and(|line| {
            events.extend(stream(line, &config, is_client, &events));
            true
        })
    {}
    events.push(Event::TestStarted(TestStarted {
        config: Arc::clone(&config),
        interval: run.interval,
        gso: false,
        gro: false,
    }));
    lines.next();
    let rows: Vec<_> = lines
        .by_ref()
        .take_while(|line| !line.starts_with("[ ID]"))
        .filter_map(Row::parse)
        .collect();
    events.extend(intervals(&config, is_client, &rows));
    let summary_lines: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    events.push(Event::Summary(summary(&config, is_client, &summary_lines)));
    events.extend(server_output(text).map(Event::ServerOutput));
    events.push(Event::TestFinished);
    events
}

/// The rest of the first line that begins with this.
fn after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(prefix))
}

fn listening(text: &str) -> Event {
    let banner = after(text, "Server listening on ").unwrap();
    let (port, number) = banner.split_once(" (test #").unwrap();
    Event::Listening {
        port: port.parse().unwrap(),
        test_number: number.trim_end_matches(')').parse().unwrap(),
    }
}

fn began(text: &str, config: &Arc<TestConfig>) -> TestBegan {
    let mss = after(text, "      TCP MSS: ").map(|mss| mss.trim_end_matches(" (default)"));
    TestBegan {
        peer: match after(text, "Connecting to host ") {
            Some(name) => Peer::ConnectingTo(socket_name(name, ", port ")),
            None => Peer::AcceptedFrom(socket_name(
                after(text, "Accepted connection from ").unwrap(),
                ", port ",
            )),
        },
        at: after(text, "Time: ").map_or(UNIX_EPOCH, |date| {
            let clock = date.strip_prefix("Sun, 22 Nov 2026 ").unwrap();
            let mut parts = clock[..8]
                .split(':')
                .map(|part| part.parse::<u64>().unwrap());
            let mut next = || parts.next().unwrap();
            let seconds = (next() * 60 + next()) * 60 + next();
            UNIX_EPOCH + Duration::from_secs(1_795_305_600 + seconds)
        }),
        cookie: after(text, "      Cookie: ").unwrap_or_default().into(),
        control_mss: mss.map_or(0, |mss| mss.parse().unwrap()),
        config: Arc::clone(config),
    }
}

/// What the client prints of its server's output, at the end.
fn server_output(text: &str) -> Option<ServerOutput> {
    let behind = |heading: &str| {
        let (_, output) = text.split_once(heading)?;
        output.strip_suffix("\n\niperf Done.\n")
    };
    if let Some(output) = behind("\n\nServer output:\n") {
        return Some(ServerOutput::Text(output.into()));
    }
    behind("\n\nServer JSON output:\n").map(|output| ServerOutput::Json(output.into()))
}

fn socket_name(text: &str, separator: &str) -> SocketName {
    let (host, port) = text.split_once(separator).unwrap();
    SocketName {
        host: host.into(),
        port: port.parse().unwrap(),
    }
}

fn stream(line: &str, config: &TestConfig, is_client: bool, events: &[Event]) -> Option<Event> {
    let (socket, ends) = line.strip_prefix('[')?.split_once("] local ")?;
    let (local, remote) = ends.split_once(" connected to ")?;
    let opened = |event: &&Event| matches!(event, Event::StreamOpened(_));
    let index = events.iter().filter(opened).count();
    Some(Event::StreamOpened(StreamInfo {
        id: index as u32 + 1,
        socket: socket.trim().parse().unwrap(),
        local: socket_name(local, " port "),
        remote: socket_name(remote, " port "),
        role: config.role_on(index, is_client),
    }))
}

fn intervals(config: &TestConfig, is_client: bool, rows: &[Row]) -> Vec<Event> {
    let first = rows[0].socket;
    let mut events = Vec::new();
    let (mut now, mut was_omitted) = (0.0, rows[0].tail == "(omitted)");
    let mut rest = rows;
    while let Some(head) = rest.first() {
        let count = 1 + rest[1..]
            .iter()
            .take_while(|row| row.socket != first)
            .count();
        let (rows, others) = rest.split_at(count);
        rest = others;
        let omitted = head.tail == "(omitted)";
        if was_omitted && !omitted {
            events.push(Event::OmitFinished);
            now = 0.0;
        }
        was_omitted = omitted;
        let seconds = head.seconds(config, now);
        let streams = rows.iter().filter(|row| row.socket.is_some()).map(|row| {
            let sending = row.sends(config, is_client);
            let udp = config.transport == Transport::Udp;
            StreamInterval {
                exchanges: None,
                socket: row.socket.unwrap(),
                role: Role::of(sending),
                bytes: row.bytes(config, seconds),
                tcp: row
                    .retransmits
                    .filter(|_| !udp)
                    .map(|retransmits| TcpSample {
                        retransmits,
                        snd_cwnd: row.cwnd,
                        ..TcpSample::default()
                    }),
                datagrams: udp.then_some(DatagramSample {
                    packets: row.packets,
                    lost: row.lost,
                    jitter: row.jitter,
                    out_of_order: 0,
                }),
            }
        });
        assert!((head.start - now).abs() < 0.01);
        events.push(Event::Interval(Interval {
            start: micros(now),
            end: micros(now + seconds),
            omitted,
            streams: streams.collect(),
            probes: None,
        }));
        now += seconds;
    }
    events
}

fn summary(config: &TestConfig, is_client: bool, lines: &[&str]) -> Summary {
    let rows: Vec<_> = lines.iter().filter_map(|line| Row::parse(line)).collect();
    let find = |prefix: &str| lines.iter().find_map(|line| line.strip_prefix(prefix));
    let of = |socket: Option<i32>, tail: &str| {
        let mut rows = rows.iter();
        rows.find(|row| row.socket == socket && row.tail == tail)
    };
    let duration = |tail: &str| {
        let row = rows.iter().find(|row| row.tail == tail)?;
        Some(row.seconds(config, 0.0))
    };
    let (sender, receiver) = (duration("sender"), duration("receiver"));
    let (local, remote) = if !is_client {
        (sender.or(receiver), None)
    } else if config.role_on(0, true).sends() {
        (sender, receiver)
    } else {
        (receiver, sender)
    };
    let mut sockets: Vec<_> = rows.iter().filter_map(|row| row.socket).collect();
    sockets.dedup();
    let streams = sockets.into_iter().enumerate().map(|(index, socket)| {
        let sent = of(Some(socket), "sender");
        let received = of(Some(socket), "receiver");
        let sending = config.role_on(index, is_client).sends();
        let mut summary = outcomes::stream(
            socket,
            sending,
            sent.map(|row| counts(row, config, sender.unwrap())),
            received.map(|row| counts(row, config, receiver.unwrap())),
        );
        summary.own.file = find("        Sent ").map(file);
        summary
    });
    let cpu = find("CPU Utilization: ").map(cpu);
    let name = |prefix: &str| find(prefix).map(str::to_owned);
    let (snd, rcv) = (name("snd_tcp_congestion "), name("rcv_tcp_congestion "));
    // Whatever the direction, a server knows its own algorithm only.
    let (congestion, remote_congestion) = if is_client {
        (snd, rcv)
    } else {
        (snd.or(rcv), None)
    };
    Summary {
        delays: Box::default(),
        limits: Vec::new(),
        exchanges: None,
        streams: streams.collect(),
        duration: micros(local.unwrap()),
        remote_duration: remote.map(micros),
        cpu: cpu.map(|cpu| cpu.0).unwrap_or_default(),
        remote_cpu: cpu.map(|cpu| cpu.1),
        congestion,
        remote_congestion,
        checksum_errors: None,
        remote_checksum_errors: None,
    }
}

/// What one side of a stream counted in this many seconds.
fn counts(row: &Row, config: &TestConfig, seconds: f64) -> StreamOutcome {
    let bytes = row.bytes(config, seconds);
    if config.transport == Transport::Tcp {
        let tcp = row.retransmits.map(|retransmits| TcpTotals {
            retransmits,
            ..TcpTotals::default()
        });
        let low_water = None;
        return outcomes::bytes(bytes, ByteTotals { tcp, low_water });
    }
    let totals = DatagramTotals {
        jitter: row.jitter,
        ..counted(row.packets, Some(row.lost))
    };
    outcomes::datagrams(bytes, totals)
}

fn cpu(text: &str) -> (CpuUsage, CpuUsage) {
    let percents = text.split(['%', ' ', '(', '/']);
    let percents: Vec<f64> = percents.filter_map(|part| part.parse().ok()).collect();
    let usage = |at: usize| CpuUsage {
        total: percents[at],
        user: percents[at + 1],
        system: percents[at + 2],
    };
    (usage(0), usage(3))
}

fn file(text: &str) -> FileProgress {
    let words: Vec<_> = text.split_whitespace().collect();
    let moved = amount(words[0], words[1]).0 as u64;
    FileProgress {
        name: words.last().copied().unwrap().into(),
        size: moved,
        moved,
    }
}
