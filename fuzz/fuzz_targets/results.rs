//! Any bytes, read by content and as each tool's: records or an error, never a panic.
//! Seeds: `cargo +nightly fuzz run results crates/results/tests/data/samples`.
#![no_main]

use iperf_results::{ReadOptions, Tool, read_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let options = ReadOptions { tool: None, bytes: Some(1 << 30) };
    let _ = read_bytes("fuzz", bytes, &options);
    // The first byte chooses a tool, too, so that every reader meets every content.
    if let Some((&first, rest)) = bytes.split_first() {
        let tool = Tool::ALL[usize::from(first) % Tool::ALL.len()];
        let _ = read_bytes("fuzz", rest, &ReadOptions { tool: Some(tool), ..options });
    }
});
