//! The table of JSON keys in `docs/compatibility.md` is the keys of iperf3's documents, and of ours.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use iperf_model::{
    Batching, Carrier, Cause, ClockRelation, CopyMode, CopyReport, Delays, Detail, Environment,
    EnvironmentAfter, Event, Exchange, ExchangeCounts, Io, IoReport, Latencies, Limitation, Load,
    OneWayDelays, ProbeMethod, Probes, ReceiveMode, RemoteEnvironment, Role, SendMode,
    StreamOutcome, ZeroCopy,
};
use iperf_report::{Document, Format};
use serde_json::Value;
use support::{from_json, is_client, keys, options, render, sample, samples};

/// A row of the table.
struct Row {
    kind: String,
    /// A key that iperf3 does not have.
    own: bool,
}

/// The table, by key.
fn table() -> BTreeMap<String, Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let text = fs::read_to_string(path).unwrap();
    let section = text
        .lines()
        .skip_while(|line| *line != "## JSON")
        .skip(1)
        .take_while(|line| !line.starts_with('#'));
    let rows = section.filter(|line| line.starts_with("| `"));
    let mut table = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 7, "{row}");
        for key in expand(cells[1].trim_matches('`')) {
            let row = Row {
                kind: cells[2].to_owned(),
                own: cells[5].starts_with("**own**"),
            };
            assert!(table.insert(key.clone(), row).is_none(), "{key} twice");
        }
    }
    table
}

/// All names that a name with braces expands to.
fn expand(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else {
        return vec![name.to_owned()];
    };
    let (parts, after) = rest.split_once('}').unwrap();
    let after = expand(after);
    let parts = parts.split(',');
    parts
        .flat_map(|part| {
            after
                .iter()
                .map(move |after| format!("{before}{part}{after}"))
        })
        .collect()
}

/// Every member of a document that holds no other members, with what it holds.
fn leaves(value: &Value, path: &str, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let kind = match value {
        // The server's document has the same keys.
        Value::Object(_) if path == "server_output_json" => "object",
        Value::Object(members) => {
            for (key, value) in members {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(value, &format!("{path}{dot}{key}"), found);
            }
            return;
        }
        Value::Array(elements) => {
            for element in elements {
                leaves(element, &format!("{path}[]"), found);
            }
            return;
        }
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::Null => "null",
    };
    found.entry(path.to_owned()).or_default().insert(kind);
}

type Leaves = BTreeMap<String, BTreeSet<&'static str>>;

/// The members of iperf3's documents, and those of ours about the same tests.
fn documents() -> (Leaves, Leaves) {
    let (mut theirs, mut ours) = (Leaves::new(), Leaves::new());
    for name in samples(".json") {
        let document: Value = serde_json::from_str(&sample(&name)).unwrap();
        leaves(&document, "", &mut theirs);
        let mut events = from_json::events(&document, is_client(&name));
        tell_everything(&mut events);
        let written = render(Format::Json, options(is_client(&name)), &events);
        leaves(&serde_json::from_str(&written.out).unwrap(), "", &mut ours);
        exchange_everything(&mut events);
        let written = render(Format::Json, options(is_client(&name)), &events);
        leaves(&serde_json::from_str(&written.out).unwrap(), "", &mut ours);
    }
    (theirs, ours)
}

/// Adds what only this program can know.
fn tell_everything(events: &mut Vec<Event>) {
    let zerocopy = ZeroCopy {
        send: SendMode::Msg,
        receive: ReceiveMode::Mmap,
    };
    events.insert(1, Event::Environment(Box::new(environment())));
    let after = EnvironmentAfter {
        steal_percent: Some(0.5),
        remote: Some(RemoteEnvironment {
            version: Some("3.22".to_owned()),
            steal_percent: Some(0.5),
            environment: environment(),
        }),
    };
    events.insert(1, Event::EnvironmentAfter(Box::new(after)));
    events.insert(1, Event::CarriedBy(Carrier::Unix("/run/vm.vsock".into())));
    for event in events.iter_mut() {
        match event {
            Event::TestBegan(began) => Arc::make_mut(&mut began.config).zerocopy = zerocopy,
            Event::TestStarted(started) => Arc::make_mut(&mut started.config).zerocopy = zerocopy,
            _ => {}
        }
        if let Event::Summary(summary) = event {
            if summary.streams[0].own.datagram_totals().is_some() {
                summary.checksum_errors = Some(1);
                summary.remote_checksum_errors = Some(1);
            }
            summary.limits.push(Limitation {
                role: Role::Sender,
                cause: Cause::Bitrate,
                share: 0.5,
                evidence: "why".to_owned(),
            });
            *summary.delays = delays();
            for stream in &mut summary.streams {
                tell_all_of(&mut stream.own);
                stream.peer.iter_mut().for_each(tell_all_of);
            }
        }
    }
}

/// All delays, with enough samples for every percentile.
fn delays() -> Delays {
    let mut latencies = Latencies::new();
    for nanos in 1..200 {
        latencies.record(nanos * 1000, 1000);
    }
    let probes = Probes {
        sent: 199_000,
        lost: 1,
        round_trip: latencies.clone(),
        up: Some(latencies.clone()),
        down: Some(latencies.clone()),
    };
    let ways = [Role::Sender, Role::Receiver].map(|role| OneWayDelays {
        role,
        delays: Arc::new(latencies.clone()),
    });
    Delays {
        load: Some(Load {
            method: ProbeMethod::Messages,
            idle: probes.clone(),
            loaded: probes.clone(),
            after: probes,
        }),
        clock: Some(ClockRelation {
            exact: false,
            offset: 1,
            error: 2,
            drift_ppm: Some(0.5),
        }),
        one_way: ways.into(),
    }
}

/// Makes a request/response test of it, with enough samples for every percentile.
fn exchange_everything(events: &mut [Event]) {
    let mut latencies = Latencies::new();
    for nanos in 1..200 {
        latencies.record(nanos * 1000, 1000);
    }
    let latencies = Some(Arc::new(latencies));
    let counts = ExchangeCounts {
        transactions: 199_000,
        timeouts: 1,
        service: latencies.clone(),
        response: latencies.clone(),
        late: latencies.clone(),
        connect: latencies.clone(),
        close: latencies.clone(),
    };
    let exchange = Exchange {
        rate: Some(1000),
        reconnects: true,
        ..Exchange::new(1, 1)
    };
    for event in events {
        match event {
            Event::TestBegan(began) => {
                Arc::make_mut(&mut began.config).exchange = Some(exchange);
            }
            Event::TestStarted(started) => {
                Arc::make_mut(&mut started.config).exchange = Some(exchange);
            }
            Event::Interval(interval) => {
                for stream in &mut interval.streams {
                    stream.exchanges = Some(counts.clone());
                }
                interval.probes.clone_from(&latencies);
            }
            Event::Summary(summary) => summary.exchanges = Some(counts.clone()),
            _ => {}
        }
    }
}

/// One with every member.
fn environment() -> Environment {
    let facts = r#"{"kernel": "Linux 6.12.0", "cpu": "CPU", "cpus": 8, "cpus_usable": 4, "governor": "performance",
        "virtualization": "kvm", "container": "docker", "clocksource": "tsc", "memory_bytes": 1024,
        "interface": {"name": "eth0", "driver": "veth", "speed_mbps": 10000, "mtu": 1500, "numa_node": 1, "offloads": ["scatter-gather"]},
        "sysctl": {"rmem_default": 1, "rmem_max": 2, "wmem_default": 3, "wmem_max": 4, "optmem_max": 5,
        "netdev_max_backlog": 6, "busy_poll": 7, "busy_read": 8, "default_qdisc": "fq", "tcp_rmem": [1, 2, 3],
        "tcp_wmem": [1, 2, 3], "tcp_congestion_control": "bbr"}}"#;
    serde_json::from_str(facts).unwrap()
}

fn tell_all_of(side: &mut StreamOutcome) {
    side.copies = Some(copies());
    side.io = Some(IoReport {
        used: Io::Calls,
        reason: Some("why".to_owned()),
    });
    match &mut side.detail {
        Detail::Exchanges(..) => {}
        Detail::Bytes(totals) => totals.low_water = (!side.role.sends()).then_some(0),
        Detail::Datagrams(totals) => {
            totals.batching = Some(Batching::Packets);
            totals.duplicates = Some(2);
            totals.socket_drops = Some(3);
            totals.nap = Some(Duration::ZERO);
        }
    }
}

fn copies() -> CopyReport {
    CopyReport {
        requested: CopyMode::Mmap,
        used: CopyMode::Copy,
        reason: Some("why".to_owned()),
        calls: 1,
        bytes_not_copied: 2,
        bytes_copied: 3,
        mappings: 4,
        completions: 5,
        completions_copied: 6,
        cpu: Duration::from_millis(1),
    }
}

#[test]
fn each_key_of_iperf3_has_its_row_and_its_type() {
    let table = table();
    let (theirs, ours) = documents();
    assert!(theirs.len() > 150, "{}", theirs.len());
    for (key, kinds) in theirs.iter().chain(&ours) {
        let row = table.get(key).unwrap_or_else(|| panic!("no row for {key}"));
        let fits = |kind: &&str| *kind == row.kind || (row.kind == "float" && *kind == "int");
        assert!(
            kinds.iter().all(fits),
            "{key} is {kinds:?}, not {}",
            row.kind
        );
    }
}

#[test]
fn each_row_has_its_key() {
    let (theirs, ours) = documents();
    for (key, row) in table() {
        assert_ne!(row.own, theirs.contains_key(&key), "{key}");
        // It takes 100,000 rows, and has a test of its own.
        let written = ours.contains_key(&key) || key == "intervals_dropped";
        assert!(written, "{key} is never written");
    }
}

/// Keys that a type has because another object shares it, and that are never written.
const SHARED: [&str; 9] = [
    "intervals[].sum{,_bidir_reverse}.{socket,snd_cwnd,snd_wnd,rtt,rttvar,pmtu,reorder}",
    "end.streams[].receiver.{retransmits,reorder,max_snd_cwnd,max_snd_wnd,max_rtt,min_rtt,mean_rtt}",
    "end.streams[].sender.rcv_lowat",
    "end.sum{,_bidir_reverse}.retransmits",
    "end.sum_received{,_bidir_reverse}.retransmits",
    "end.sum{,_bidir_reverse}.checksum_errors",
    "end.sum_sent{,_bidir_reverse}.checksum_errors",
    "end.sum{,_bidir_reverse}.jain_index",
    "end.sum{,_bidir_reverse}.zerocopy.{requested,used,reason,bytes_not_copied,bytes_copied,calls,mappings,\
     bytes_per_mapping,completions,completions_copied,cpu_seconds_per_gigabyte}",
];

#[test]
fn the_table_is_the_type() {
    let mut table: BTreeMap<_, _> = table()
        .into_iter()
        .map(|(key, row)| (key, row.kind))
        .collect();
    let mut keys = keys::of::<Document>();
    for key in SHARED.into_iter().flat_map(expand) {
        assert!(keys.remove(&key).is_some(), "{key} is no key of the type");
        assert!(!table.contains_key(&key), "{key}");
    }
    for (key, kind) in keys {
        assert_eq!(table.remove(&key).as_deref(), Some(kind), "{key}");
    }
    assert!(table.is_empty(), "no key of the type: {table:?}");
}
