//! A server's file of options (`--options-file`), as it is read at the start and on SIGHUP: options or an error.
#![no_main]

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("iperf-fuzz-options-{}", std::process::id())));

fuzz_target!(|bytes: &[u8]| {
    // Files of keys and users may be named, and are opened to see whether they can be read.
    if String::from_utf8_lossy(bytes).contains("/dev") {
        return;
    }
    fs::write(&*FILE, bytes).expect("the file is written");
    let words = [OsString::from("-s"), "--options-file".into(), FILE.clone().into_os_string()];
    if let Err(error) = iperf_cli::parse(words) {
        let _ = error.report("iperf");
    }
});
