//! The JSON of control messages: parameters, results, grants, counts. What is read can be written and read again.
#![no_main]

use iperf_proto::counts::Counts;
use iperf_proto::{Granted, Params, Results};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(params) = Params::parse(bytes) {
        let _ = params.to_test();
        let again = Params::parse(params.to_json().as_bytes()).expect("what is written can be read");
        let _ = again.to_test();
    }
    if let Ok(results) = Results::parse(bytes) {
        Results::parse(results.to_json().as_bytes()).expect("what is written can be read");
    }
    if let Ok(granted) = Granted::parse(bytes) {
        Granted::parse(granted.to_json().as_bytes()).expect("what is written can be read");
    }
    let _ = Counts::parse(bytes);
});
