//! The watch over a running test, in virtual time: the streams are real, the clock is not.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use iperf_engine::net::{StreamPlan, StreamSpec, tcp};
use iperf_engine::{CpuMeter, Measurement, Prepared, RunPlan, Seen, Trouble, Watch, WatchLimits};
use iperf_model::{Event, Limit, LocalOptions, Role, TestConfig, Transport};
use socket2::{SockRef, Socket};

/// Longer than anything here takes, unless it hangs.
const LONG: Duration = Duration::from_secs(60);

const SECOND: Duration = Duration::from_secs(1);

const LIMITS: WatchLimits = WatchLimits {
    period: Duration::from_millis(250),
    silence: Duration::from_secs(120),
    first_byte: None,
    stall: Duration::from_secs(30),
};

/// A test of one stream that began at `start`, and the peer's end of the stream.
struct Running {
    measurement: Measurement,
    peer: TcpStream,
    start: Instant,
    events: Vec<Event>,
}

impl Running {
    fn new(role: Role, config: &TestConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = Socket::from(listener.accept().unwrap().0);
        let local = LocalOptions::default();
        let spec = StreamSpec {
            id: 1,
            number: 5,
            role,
        };
        let stream = tcp::adopt(accepted, &StreamPlan::new(config, &local), spec).unwrap();
        let plan = RunPlan {
            config,
            local: &local,
            outlasts_quota: false,
            exact: false,
            placement: None,
            clock: None,
            transactions: None,
            wake: Arc::new(|| {}),
        };
        let prepared = Prepared::new(vec![stream], &plan, CpuMeter::start(), true).unwrap();
        let start = Instant::now();
        Self {
            measurement: prepared.go(start),
            peer,
            start,
            events: Vec::new(),
        }
    }

    /// Looks when this much of the test has passed.
    fn look(&mut self, watch: &mut Watch, passed: Duration) -> Result<Seen, Trouble> {
        let events = &mut self.events;
        let report = |event| events.push(event);
        watch.look(&mut self.measurement, self.start + passed, report)
    }
}

fn config(limit: Limit) -> TestConfig {
    TestConfig {
        limit,
        ..TestConfig::new(Transport::Tcp)
    }
}

/// Repeats a step until it returns something.
fn until<T>(mut step: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(found) = step() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn intervals_are_reported_when_they_are_due_and_the_end_of_the_time_is_seen() {
    let mut running = Running::new(Role::Receiver, &config(Limit::Seconds(3)));
    let mut watch = Watch::new(LIMITS);
    let period = LIMITS.period;
    let start = running.start;
    assert_eq!(watch.deadline(&running.measurement, start), start + period);
    let late = start + 9 * SECOND / 10;
    let due = watch.deadline(&running.measurement, late);
    assert_eq!(
        due,
        start + SECOND,
        "the interval ends before the period does"
    );

    assert_eq!(
        running.look(&mut watch, due - start).unwrap(),
        Seen::default()
    );
    assert!(matches!(running.events[..], [Event::Interval(_)]));
    running.look(&mut watch, 2 * SECOND).unwrap();
    assert_eq!(running.events.len(), 2);
    assert!(running.look(&mut watch, 3 * SECOND).unwrap().time_is_over);
    assert_eq!(
        running.events.len(),
        2,
        "the last sample takes the last interval"
    );
}

#[test]
fn the_end_of_the_omitted_period_is_reported_once() {
    let config = TestConfig {
        omit: 1,
        ..config(Limit::Seconds(3))
    };
    let mut running = Running::new(Role::Receiver, &config);
    let mut watch = Watch::new(LIMITS);
    for seconds in 1..=2 {
        running.look(&mut watch, seconds * SECOND).unwrap();
    }
    let is_end = |event: &&Event| matches!(event, Event::OmitFinished);
    assert_eq!(running.events.iter().filter(is_end).count(), 1);
    assert!(!running.look(&mut watch, 3 * SECOND).unwrap().time_is_over);
    assert!(running.look(&mut watch, 4 * SECOND).unwrap().time_is_over);
}

#[test]
fn a_peer_that_sends_nothing_is_silent_at_the_limit_and_not_before() {
    let mut running = Running::new(Role::Receiver, &config(Limit::Seconds(600)));
    let mut watch = Watch::new(LIMITS);
    let limit = LIMITS.silence;
    assert!(running.look(&mut watch, 119 * SECOND).is_ok());
    let trouble = running.look(&mut watch, limit).unwrap_err();
    assert!(matches!(trouble, Trouble::Silence), "{trouble:?}");
}

#[test]
fn the_first_byte_has_a_limit_of_its_own() {
    let limits = WatchLimits {
        first_byte: Some(4 * SECOND),
        ..LIMITS
    };
    let mut running = Running::new(Role::Receiver, &config(Limit::Seconds(600)));
    let mut watch = Watch::new(limits);
    assert!(running.look(&mut watch, 3 * SECOND).is_ok());
    let trouble = running.look(&mut watch, 4 * SECOND).unwrap_err();
    assert!(
        matches!(trouble, Trouble::Mute(limit) if limit == 4 * SECOND),
        "{trouble:?}"
    );

    running.peer.write_all(b"first").unwrap();
    until(|| (running.measurement.run().bytes().1 > 0).then_some(()));
    // From now on silence counts from the last byte that was seen.
    assert!(running.look(&mut watch, 5 * SECOND).is_ok());
    assert!(
        running
            .look(&mut watch, limits.silence + 4 * SECOND)
            .is_ok()
    );
    let trouble = running.look(&mut watch, limits.silence + 5 * SECOND);
    assert!(matches!(trouble, Err(Trouble::Silence)), "{trouble:?}");
}

#[test]
fn a_peer_that_closes_its_window_and_reads_nothing_stalls_the_test() {
    let mut running = Running::new(Role::Sender, &config(Limit::Seconds(u32::MAX)));
    let mut watch = Watch::new(LIMITS);
    // Bytes that still move begin the wait again.
    let mut passed = Duration::ZERO;
    let trouble = until(|| {
        passed += LIMITS.stall;
        running.look(&mut watch, passed).err()
    });
    let stalled = matches!(trouble, Trouble::Stalled(limit) if limit == LIMITS.stall);
    assert!(stalled, "{trouble:?}");

    let (seen, _) = running.measurement.run().bytes();
    let mut patient = Watch::new(WatchLimits {
        stall: passed + LIMITS.stall,
        ..LIMITS
    });
    assert!(running.look(&mut patient, passed).is_ok());
    assert_eq!(running.measurement.run().bytes().0, seen);
}

#[test]
fn the_peer_of_a_lost_stream_gets_a_second_to_say_why() {
    let mut running = Running::new(Role::Receiver, &config(Limit::Seconds(600)));
    let mut watch = Watch::new(LIMITS);
    running.peer.shutdown(std::net::Shutdown::Both).unwrap();
    // The worker ends when it will; the watch sees that at the same moment of the test.
    let (start, seen) = (running.start, 2 * SECOND);
    let trouble = until(|| {
        running.look(&mut watch, seen).unwrap();
        assert!(
            watch
                .lost(start + seen + Duration::from_millis(999))
                .is_ok()
        );
        watch.lost(start + seen + SECOND).err()
    });
    let lost =
        matches!(&trouble, Trouble::Lost(lost) if !lost.role.sends() && lost.source.is_none());
    assert!(lost, "{trouble:?}");
    assert!(
        watch.lost(start + 100 * SECOND).is_ok(),
        "it is reported once"
    );
}

#[test]
fn wrong_data_ends_the_test_without_a_second_for_the_peer() {
    let config = TestConfig {
        verify: true,
        ..config(Limit::Seconds(600))
    };
    let mut running = Running::new(Role::Receiver, &config);
    let mut watch = Watch::new(LIMITS);
    running.peer.write_all(&[0x5a; 4096]).unwrap();
    let trouble = until(|| running.look(&mut watch, SECOND).err());
    let Trouble::Lost(lost) = trouble else {
        panic!("{trouble:?}");
    };
    assert!(lost.source.is_some());
}

/// A sender whose peer resets the stream, seen by a look, if there is one before the end of the test.
fn sender_whose_peer_is_gone(is_seen: bool) -> (Running, Watch) {
    let mut running = Running::new(Role::Sender, &config(Limit::Seconds(600)));
    let mut watch = Watch::new(LIMITS);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpStream::connect(other.local_addr().unwrap()).unwrap();
    drop(std::mem::replace(&mut running.peer, other));
    until(|| {
        if is_seen {
            running.look(&mut watch, SECOND / 2).unwrap();
        } else {
            let run = running.measurement.run();
            assert!(watch.fault(run, running.start).is_none());
        }
        watch.awaits_reason().then_some(())
    });
    (running, watch)
}

#[test]
fn a_sender_that_was_lost_before_the_end_fails_a_test_that_ends_within_the_second_for_the_peer() {
    let (mut running, mut watch) = sender_whose_peer_is_gone(true);
    let lost = watch.cut_off(running.measurement.run()).unwrap();
    assert_eq!(lost.role, Role::Sender);

    let (mut running, mut watch) = sender_whose_peer_is_gone(false);
    let lost = watch.cut_off(running.measurement.run());
    assert!(
        lost.is_none(),
        "the peer that ended the test may close: {lost:?}"
    );
}

/// A receiver whose peer ends the stream in this way behind a few bytes, once it has ended.
fn ended(end: fn(TcpStream)) -> (Running, Watch) {
    let mut running = Running::new(Role::Receiver, &config(Limit::Seconds(600)));
    running.peer.write_all(b"a part").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpStream::connect(other.local_addr().unwrap()).unwrap();
    end(std::mem::replace(&mut running.peer, other));
    let mut watch = Watch::new(LIMITS);
    until(|| {
        assert!(
            watch
                .fault(running.measurement.run(), running.start)
                .is_none()
        );
        watch.awaits_reason().then_some(())
    });
    (running, watch)
}

#[test]
fn a_reset_at_the_end_has_cut_off_data_and_an_orderly_end_has_not() {
    let (mut running, mut watch) = ended(|peer| {
        SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let lost = watch.cut_off(running.measurement.run()).unwrap();
    assert!(lost.source.is_some(), "{lost:?}");

    let (mut running, mut watch) = ended(drop);
    assert!(watch.cut_off(running.measurement.run()).is_none());
    assert!(
        watch.lost(running.start + LONG).is_err(),
        "in the middle of a test it is lost"
    );
}
