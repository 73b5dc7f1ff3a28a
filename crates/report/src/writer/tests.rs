//! Readers that are slow, stuck, gone, or on a full disk.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};

use iperf_model::{Event, Failure, FailureKind, Sink};

use super::*;
use crate::{Format, Output, ReportOptions, sink};

/// What a test waits for at most: a hang, and not a busy machine.
const HANG: Duration = Duration::from_secs(60);

/// Takes a write for each permit, then fails or blocks.
struct Gated {
    permits: Receiver<io::Result<()>>,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Without a sender the output is free.
        self.permits.recv().unwrap_or(Ok(()))?;
        self.seen.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Seen = Arc<Mutex<Vec<u8>>>;

fn gated() -> (Sender<io::Result<()>>, Seen, Box<dyn Write + Send>) {
    let (sender, permits) = channel();
    let seen = Seen::default();
    let writer = Gated {
        permits,
        seen: seen.clone(),
    };
    (sender, seen, Box::new(writer))
}

fn text(seen: &Seen) -> String {
    String::from_utf8(seen.lock().unwrap().clone()).unwrap()
}

fn free() -> (Seen, Box<dyn Write + Send>) {
    let (permits, seen, writer) = gated();
    drop(permits);
    (seen, writer)
}

#[test]
fn intervals_are_dropped_and_results_are_not() {
    let (permits, seen, main) = gated();
    let (_, errors) = free();
    let writer = Writer::start("iperf", "stdout", main, errors).unwrap();
    let mut output = Output::queued(writer.clone());
    let long = "x".repeat(1000) + "\n";
    let mut kept = 0;
    for _ in 0..1000 {
        assert_eq!(output.begin(true), None);
        if !output.is_muted() {
            output.write_text(&long);
            kept += 1;
        }
    }
    assert!((200..300).contains(&kept), "{kept}");
    // A result has room, and is the first to fit again.
    assert_eq!(output.begin(false), Some(1000 - kept));
    output.write_text("result\n");
    assert_eq!(output.begin(true), None);
    assert!(output.is_muted());
    assert!(!writer.wait(Duration::from_millis(1)));
    drop(permits);
    assert!(writer.wait(HANG));
    assert_eq!(output.begin(true), Some(1));
    assert!(text(&seen).ends_with("x\nresult\n"));
    assert!(writer.is_intact());
}

#[test]
fn what_is_never_read_does_not_grow_without_end() {
    let (permits, _, main) = gated();
    let (_, errors) = free();
    let writer = Writer::start("iperf", "stdout", main, errors).unwrap();
    let mut output = Output::queued(writer.clone());
    let document = "x".repeat(10 << 20);
    for _ in 0..20 {
        output.begin(false);
        output.write_text(&document);
    }
    let waiting = writer.0.lock().waiting;
    assert!((64 << 20..=75 << 20).contains(&waiting), "{waiting}");
    drop(permits);
}

#[test]
fn a_failure_is_reported_once_and_output_continues_after_it() {
    let (permits, seen, main) = gated();
    let (errors_seen, errors) = free();
    let writer = Writer::start("iperf", "stdout", main, errors).unwrap();
    let full = || Err(io::Error::from(nix::errno::Errno::ENOSPC));
    for answer in [full(), full(), Ok(()), full()] {
        writer.push(Place::Main, b"line\n");
        permits.send(answer).unwrap();
        assert!(writer.wait(HANG));
    }
    assert_eq!(text(&seen), "line\n");
    let complaint = "iperf: error - unable to write to stdout: No space left on device\n";
    assert_eq!(text(&errors_seen), complaint.repeat(2));
    assert!(!writer.is_intact());
}

#[test]
fn a_closed_reader_is_no_error() {
    let (permits, seen, main) = gated();
    let (errors_seen, errors) = free();
    let writer = Writer::start("iperf", "stdout", main, errors).unwrap();
    permits.send(Err(ErrorKind::BrokenPipe.into())).unwrap();
    for _ in 0..3 {
        writer.push(Place::Main, b"line\n");
        assert!(writer.wait(HANG));
    }
    assert_eq!(text(&seen) + &text(&errors_seen), "");
    assert!(writer.is_intact());
}

#[test]
fn a_full_non_blocking_output_is_waited_for() {
    let (permits, seen, main) = gated();
    let (_, errors) = free();
    let writer = Writer::start("iperf", "stdout", main, errors).unwrap();
    for kind in [ErrorKind::WouldBlock, ErrorKind::Interrupted] {
        permits.send(Err(kind.into())).unwrap();
    }
    drop(permits);
    writer.push(Place::Main, b"line\n");
    assert!(writer.wait(HANG));
    assert_eq!(text(&seen), "line\n");
    assert!(writer.is_intact());
}

/// A failure as an event; the sinks hold it until the test is finished, or write it at once.
fn finish(sink: &mut dyn Sink) {
    let failure = Failure {
        kind: FailureKind::Error,
        message: "broken".to_owned(),
    };
    sink.event(&Event::Failed(failure)).unwrap();
    sink.event(&Event::TestFinished).unwrap();
}

#[test]
fn each_format_reports_what_was_dropped() {
    for (format, expected) in [
        (
            Format::Text,
            "(7 reports dropped: the output was read too slowly)\n",
        ),
        (
            Format::JsonStream,
            r#"{"event":"dropped","data":{"reports":7,"reason":"the output was read too slowly"}}"#,
        ),
    ] {
        let (seen, main) = free();
        let (_, errors) = free();
        let writer = Writer::start("iperf", "stdout", main, errors).unwrap();
        let output = Output::queued(writer.clone());
        writer.dropped().store(7, Ordering::Relaxed);
        let mut sink = sink(format, ReportOptions::default(), output);
        finish(sink.as_mut());
        assert!(writer.wait(HANG));
        assert!(text(&seen).starts_with(expected), "{}", text(&seen));
        assert_eq!(text(&seen).matches("dropped").count(), 1);
    }
}

#[test]
fn a_log_file_takes_everything_but_a_fifo_without_a_reader() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = open_log(&fifo).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(6), "{error}");
    let path = directory.path().join("log");
    std::fs::write(&path, "before\n").unwrap();
    open_log(&path).unwrap().write_all(b"line\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\nline\n");
    assert!(open_log(directory.path()).is_err());
}
