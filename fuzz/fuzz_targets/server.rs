//! What any client can send to a server: bytes in pieces, an end, silence. Never a panic, and always an end.
#![no_main]

use std::time::{Duration, Instant};

use iperf_proto::server::Action;
use iperf_proto::{Deadlines, Granted, Machine, Results, Server};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut now = Instant::now();
    let mut machine = Server::new(Deadlines::server(), now);
    for piece in &pieces {
        machine.handle_input(piece, now);
        while let Some(action) = machine.poll_action() {
            match action {
                Action::Params(params) => match params.to_test() {
                    Ok(test) => {
                        let granted = params.is_ours().then(|| Granted::for_test(&test, false));
                        machine.accept(granted.as_ref(), now);
                        machine.streams_ready(now);
                    }
                    Err(code) => machine.refuse(code, 0, Some("no")),
                },
                Action::EndTest => machine.exchange_results(now),
                Action::PeerResults(results) => {
                    let own = Results::parse(results.to_json().as_bytes());
                    machine.send_results(&own.expect("what is written can be read"), now);
                }
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
