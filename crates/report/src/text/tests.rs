use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use iperf_model::SocketName;

use super::*;
use crate::Writer;
use iperf_model::FailureKind;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn noon() -> jiff::Zoned {
    "2026-11-22T12:00:00+00:00[UTC]".parse().unwrap()
}

fn written(events: &[Event]) -> (String, String) {
    let (out, err) = (Buffer::default(), Buffer::default());
    let (main, errors) = (Box::new(out.clone()), Box::new(err.clone()));
    let writer = Writer::start("iperf", "stdout", main, errors).unwrap();
    let options = ReportOptions {
        program: "iperf".into(),
        is_client: true,
        version: "iperf 1".into(),
        system_info: "Linux".into(),
        verbose: true,
        timestamps: Some("%T ".into()),
        ..ReportOptions::default()
    };
    let mut sink = TextSink::new(options, Output::queued(writer.clone()));
    sink.stamp = sink.stamp.with_clock(noon);
    for event in events {
        sink.event(event).unwrap();
        assert!(writer.wait(Duration::from_secs(60)));
    }
    let text = |buffer: Buffer| String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    (text(out), text(err))
}

#[test]
fn a_stamp_and_then_the_title_begin_each_line() {
    let mut config = TestConfig::new(Transport::Tcp);
    config.title = Some("T".into());
    let peer = SocketName {
        host: "h".into(),
        port: 1,
    };
    let (out, err) = written(&[
        Event::ControlConnected {
            mss: Some(1448),
            derived_block: None,
        },
        Event::TestBegan(TestBegan {
            peer: Peer::ConnectingTo(peer),
            at: UNIX_EPOCH,
            cookie: "c".into(),
            control_mss: 1448,
            config: Arc::new(config),
        }),
        Event::Warning("odd".into()),
        Event::Failed(Failure {
            kind: FailureKind::Interrupt,
            message: "the client has terminated".into(),
        }),
        Event::TestFinished,
    ]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "12:00:00 T:  iperf 1",
            "12:00:00 T:  12:00:00 T:  Linux",
            "Control connection MSS 1448",
            "12:00:00 T:  Time: Thu, 01 Jan 1970 00:00:00 GMT",
            "12:00:00 T:  Connecting to host h, port 1",
            "12:00:00 T:        Cookie: c",
            "12:00:00 T:        TCP MSS: 1448 (default)",
        ]
    );
    assert_eq!(
        err,
        "warning: odd\n12:00:00 iperf: interrupt - the client has terminated\n"
    );
}

#[test]
fn lines_that_wait_for_a_title_are_not_lost() {
    let connected = Event::ControlConnected {
        mss: Some(1448),
        derived_block: Some(1448),
    };
    let (out, _) = written(&[connected, Event::TestFinished]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "12:00:00 iperf 1",
            "12:00:00 12:00:00 Linux",
            "Control connection MSS 1448",
            "Setting UDP block size to 1448",
        ]
    );
}
