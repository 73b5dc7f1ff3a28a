//! Recordings of real iperf3 processes: 3.9 to 3.22 and the vsock fork.

use std::fs;
use std::path::Path;

use iperf_proto::{Cookie, Params, Results};
use serde_json::Value;

/// One control connection, as it was seen between two processes.
pub(crate) struct Recording {
    pub(crate) name: String,
    client_version: String,
    pub(crate) entries: Vec<Entry>,
    pub(crate) json: Value,
}

pub(crate) struct Entry {
    pub(crate) to_server: bool,
    pub(crate) kind: String,
    pub(crate) bytes: Vec<u8>,
}

impl Recording {
    pub(crate) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
        let mut all: Vec<Self> = fs::read_dir(folder)
            .unwrap()
            .map(|file| Self::read(&file.unwrap().path()))
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(all.len(), 45);
        all
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut all = Self::all();
        let index = all.iter().position(|r| r.name == name).unwrap();
        all.swap_remove(index)
    }

    fn read(path: &Path) -> Self {
        let json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let entry = |entry: &Value| Entry {
            to_server: entry["dir"] == "c2s",
            kind: text(&entry["kind"]),
            bytes: hex(&entry["hex"]),
        };
        Self {
            name: text(&json["name"]),
            client_version: text(&json["client"]),
            entries: json["entries"]
                .as_array()
                .unwrap()
                .iter()
                .map(entry)
                .collect(),
            json,
        }
    }

    pub(crate) fn is_3_22_client(&self) -> bool {
        self.client_version == "iperf 3.22"
    }

    pub(crate) fn wire(&self, to_server: bool) -> Vec<u8> {
        let one_way = self.entries.iter().filter(|e| e.to_server == to_server);
        one_way.flat_map(|e| e.bytes.clone()).collect()
    }

    /// The JSON of a message, without its length.
    pub(crate) fn message(&self, to_server: bool, kind: &str) -> Option<&[u8]> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|e| e.to_server == to_server && e.kind == kind)?;
        Some(&entry.bytes[4..])
    }

    pub(crate) fn cookie(&self) -> Cookie {
        Cookie::from_wire(self.entries[0].bytes.clone().try_into().unwrap())
    }

    pub(crate) fn params(&self) -> Option<Params> {
        Some(Params::parse(self.message(true, "params")?).unwrap())
    }

    pub(crate) fn results(&self, to_server: bool) -> Option<Results> {
        Some(Results::parse(self.message(to_server, "results")?).unwrap())
    }
}

pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
