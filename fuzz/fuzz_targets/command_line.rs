//! Any words on the command line: an invocation or an error. The words are separated by newlines.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let words = bytes.split(|byte| *byte == b'\n');
    let words = words.map(|word| OsString::from_vec(word.to_vec()));
    // Files of keys and users may be named, and are opened to see whether they can be read.
    let words = words.filter(|word| !word.to_string_lossy().starts_with("/dev"));
    if let Err(error) = iperf_cli::parse(words) {
        let _ = error.report("iperf");
    }
});
