//! The events that a run may have had, read from the text that iperf3 printed of it.
//!
//! Printed numbers are rounded, so lengths and bytes are chosen from what they were rounded from such that rates
//! come out right as well.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use iperf_model::{
    BitRate, ByteTotals, CpuUsage, DatagramSample, DatagramTotals, Direction, Event, FileProgress,
    Interval, Limit, Peer, Role, ServerOutput, SocketName, StreamInfo, StreamInterval, Summary,
    TcpSample, TcpTotals, TestBegan, TestConfig, TestStarted, Transport,
};
use iperf_report::ReportOptions;
use serde_json::Value;

use super::outcomes::{self, counted};
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
    if !is_client {
        let banner = text
            .lines()
            .find_map(|line| line.strip_prefix("Server listening on "));
        let (port, number) = banner.unwrap().split_once(" (test #").unwrap();
        events.push(Event::Listening {
            port: port.parse().unwrap(),
            test_number: number.trim_end_matches(')').parse().unwrap(),
        });
    }
    let find = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix));
    events.extend(is_client.then(|| Event::ControlConnected {
        mss: find("Control connection MSS ").map(|mss| mss.parse().unwrap()),
        derived_block: None,
    }));
    let peer = |text: &str| {
        let (host, port) = text.split_once(", port ").unwrap();
        SocketName {
            host: host.into(),
            port: port.parse().unwrap(),
        }
    };
    let mss = find("      TCP MSS: ").map(|mss| mss.trim_end_matches(" (default)"));
    events.push(Event::TestBegan(TestBegan {
        peer: match find("Connecting to host ") {
            Some(text) => Peer::ConnectingTo(peer(text)),
            None => Peer::AcceptedFrom(peer(find("Accepted connection from ").unwrap())),
        },
        at: find("Time: ").map_or(UNIX_EPOCH, |date| {
            let clock = date.strip_prefix("Sun, 22 Nov 2026 ").unwrap();
            let mut parts = clock[..8]
                .split(':')
                .map(|part| part.parse::<u64>().unwrap());
            let mut next = || parts.next().unwrap();
            let seconds = (next() * 60 + next()) * 60 + next();
            UNIX_EPOCH + Duration::from_secs(1_795_305_600 + seconds)
        }),
        cookie: find("      Cookie: ").unwrap_or_default().into(),
        control_mss: mss.map_or(0, |mss| mss.parse().unwrap()),
        config: Arc::clone(&config),
    }));
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
    if let Some((_, output)) = text.split_once("\n\nServer output:\n") {
        let output = output.strip_suffix("\n\niperf Done.\n").unwrap();
        let output = output.strip_suffix('\n').unwrap();
        events.push(Event::ServerOutput(ServerOutput::Text(format!(
            "{output}\n"
        ))));
    }
    if let Some((_, output)) = text.split_once("\n\nServer JSON output:\n") {
        let output = output.strip_suffix("\n\niperf Done.\n").unwrap();
        events.push(Event::ServerOutput(ServerOutput::Json(output.into())));
    }
    events.push(Event::TestFinished);
    events
}

fn stream(line: &str, config: &TestConfig, is_client: bool, events: &[Event]) -> Option<Event> {
    let (socket, ends) = line.strip_prefix('[')?.split_once("] local ")?;
    let (local, remote) = ends.split_once(" connected to ")?;
    let name = |text: &str| {
        let (host, port) = text.split_once(" port ").unwrap();
        SocketName {
            host: host.into(),
            port: port.parse().unwrap(),
        }
    };
    let opened = |event: &&Event| matches!(event, Event::StreamOpened(_));
    let index = events.iter().filter(opened).count();
    Some(Event::StreamOpened(StreamInfo {
        id: index as u32 + 1,
        socket: socket.trim().parse().unwrap(),
        local: name(local),
        remote: name(remote),
        role: config.role_on(index, is_client),
    }))
}

/// One line of numbers.
#[derive(Clone, Debug)]
struct Row {
    /// `None` for a sum.
    socket: Option<i32>,
    sending: Option<bool>,
    start: f64,
    end: f64,
    /// Bytes: the printed number, and the least and the most that are printed so.
    transfer: (f64, f64, f64),
    bits_per_second: f64,
    retransmits: Option<u64>,
    cwnd: u64,
    jitter: f64,
    lost: i64,
    packets: u64,
    tail: String,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let (id, rest) = line.strip_prefix('[')?.split_once(']')?;
        let socket = match id {
            "SUM" => None,
            id => Some(id.trim().parse().ok()?),
        };
        let (sending, rest) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (role, rest) = rest.split_once(']')?;
                (Some(role.starts_with("TX")), rest)
            }
            None => (None, rest),
        };
        let words: Vec<_> = rest.split_whitespace().collect();
        let (start, end) = words.first()?.split_once('-')?;
        assert_eq!(words[1], "sec");
        let tail = ["(omitted)", "sender", "receiver"];
        let tail = words.iter().find(|word| tail.contains(word));
        let own = &words[6..words.len() - usize::from(tail.is_some())];
        let bits = amount(words[4], words[5].trim_end_matches("/sec")).0;
        let bits = if words[5].contains("Byte") {
            bits * 8.0
        } else {
            bits
        };
        let mut row = Self {
            socket,
            sending,
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
            transfer: amount(words[2], words[3]),
            bits_per_second: bits,
            retransmits: None,
            cwnd: 0,
            jitter: 0.0,
            lost: 0,
            packets: 0,
            tail: tail.map_or("", |tail| tail).into(),
        };
        match own {
            [] => {}
            // Of TCP's sum and summary, and of a UDP sender.
            [count] => {
                row.packets = count.parse().unwrap();
                row.retransmits = Some(row.packets);
            }
            [retransmits, cwnd, unit] => {
                row.retransmits = Some(retransmits.parse().unwrap());
                row.cwnd = amount(cwnd, unit).0 as u64;
            }
            [jitter, "ms", counts, _percent] => {
                let (lost, packets) = counts.split_once('/').unwrap();
                row.jitter = jitter.parse::<f64>().unwrap() / 1000.0;
                row.lost = lost.parse().unwrap();
                row.packets = packets.parse().unwrap();
            }
            other => panic!("{other:?}"),
        }
        Some(row)
    }

    fn sends(&self, config: &TestConfig, is_client: bool) -> bool {
        self.sending
            .unwrap_or_else(|| config.role_on(0, is_client).sends())
    }

    /// Bytes that fit what was printed of the row, over this many seconds.
    fn bytes(&self, config: &TestConfig, seconds: f64) -> u64 {
        if config.transport == Transport::Udp {
            return self.packets.saturating_add_signed(-self.lost) * u64::from(config.block);
        }
        let (bytes, least, most) = self.transfer;
        let wanted = self.bits_per_second * seconds / 8.0;
        // A rate that was printed as zero carries no information.
        let wanted = if self.bits_per_second < 1e6 {
            bytes
        } else {
            wanted
        };
        wanted.clamp(least, most).round() as u64
    }

    /// A length that fits what was printed of the row since this moment.
    fn seconds(&self, config: &TestConfig, start: f64) -> f64 {
        let printed = self.end - start;
        let bytes = self.bytes(config, printed) as f64;
        if self.bits_per_second < 1e6 {
            return printed;
        }
        let wanted = bytes * 8.0 / self.bits_per_second;
        wanted.clamp(printed - 0.0049, printed + 0.0049)
    }
}

/// A printed amount, and the least and the most that are printed so.
fn amount(number: &str, unit: &str) -> (f64, f64, f64) {
    let base: f64 = if unit.contains("bit") { 1000.0 } else { 1024.0 };
    let power = ["K", "M", "G", "T"]
        .iter()
        .position(|letter| unit.starts_with(letter));
    let unit = base.powi(power.map_or(0, |power| power as i32 + 1));
    let decimals = number
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len());
    let error = 0.499 * 0.1_f64.powi(decimals as i32);
    let number: f64 = number.parse().unwrap();
    // Less than one of a unit would be printed in the unit below.
    let least = (number - error).max(number.min(1.0));
    (number * unit, least * unit, (number + error) * unit)
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
        let seconds = |duration: Option<f64>| duration.unwrap();
        let tcp = config.transport == Transport::Tcp;
        let side = |row: &Row, bytes: u64| {
            if tcp {
                let tcp = row.retransmits.map(|retransmits| TcpTotals {
                    retransmits,
                    ..TcpTotals::default()
                });
                return outcomes::bytes(bytes, with_tcp(tcp));
            }
            let totals = DatagramTotals {
                jitter: row.jitter,
                ..counted(row.packets, Some(row.lost))
            };
            outcomes::datagrams(bytes, totals)
        };
        let mut summary = outcomes::stream(
            socket,
            sending,
            sent.map(|row| side(row, row.bytes(config, seconds(sender)))),
            received.map(|row| side(row, row.bytes(config, seconds(receiver)))),
        );
        summary.own.file = find("        Sent ").map(file);
        summary
    });
    let cpu = find("CPU Utilization: ").map(|text| {
        let percents = text.split(['%', ' ', '(', '/']);
        let percents: Vec<f64> = percents.filter_map(|part| part.parse().ok()).collect();
        let usage = |at: usize| CpuUsage {
            total: percents[at],
            user: percents[at + 1],
            system: percents[at + 2],
        };
        (usage(0), usage(3))
    });
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

fn with_tcp(tcp: Option<TcpTotals>) -> ByteTotals {
    let low_water = None;
    ByteTotals { tcp, low_water }
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
