//! Datagrams that anybody can send to the port: hellos, replies, headers, and what loss and jitter make of them.
#![no_main]

use std::time::Duration;

use iperf_proto::udp::{DatagramHeader, LossCounter, ReplySearch, is_plain_hello, is_repeated_hello, is_reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagrams: Vec<(Vec<u8>, bool, u32)>| {
    let mut search = ReplySearch::new(1460, true);
    let mut counter = LossCounter::default();
    let mut now = Duration::ZERO;
    for (datagram, wide, pause) in &datagrams {
        let _ = is_plain_hello(datagram);
        let _ = is_repeated_hello(datagram, datagram.len());
        let _ = is_reply(datagram);
        let _ = search.offer(datagram);
        now += Duration::from_micros(u64::from(*pause));
        if let Some(mut header) = DatagramHeader::decode(datagram, *wide) {
            header.take_mark();
            counter.receive(&header, now);
        }
        assert!(counter.jitter().is_finite());
    }
    let _ = (counter.packets(), counter.lost(), counter.out_of_order(), counter.duplicates());
});
