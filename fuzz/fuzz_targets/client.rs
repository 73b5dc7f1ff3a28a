//! What any server can send to a client: bytes in pieces, an end, silence. Never a panic.
#![no_main]

use std::time::{Duration, Instant};

use iperf_model::{TestConfig, Transport};
use iperf_proto::client::Action;
use iperf_proto::{Client, Cookie, Deadlines, Machine, Params};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut now = Instant::now();
    let params = Params::from_test(&TestConfig::new(Transport::Tcp));
    let cookie = Cookie::from_random([7; 36]);
    let mut machine = Client::new(cookie, params, Deadlines::client(), now);
    for piece in &pieces {
        machine.handle_input(piece, now);
        while let Some(action) = machine.poll_action() {
            match action {
                Action::OpenStreams => machine.streams_opened(now),
                Action::Run => machine.end_test(now),
                Action::ShowResults(_) => machine.finish(),
                _ => {}
            }
        }
        let _ = machine.poll_transmit();
        now += Duration::from_millis(100);
        machine.handle_timeout(now);
    }
    machine.handle_eof(now);
    let _ = machine.poll_transmit();
});
