//! Counts that two ends of this program exchange while data flows, and that no other peer gets.

use iperf_proto::counts::{COUNTS, Counts, Stage, StreamCount};
use iperf_proto::framing::frame;
use iperf_proto::{Granted, Machine as _, client, server};

use crate::alive::{granted, running};

fn counts(stage: Stage) -> Counts {
    let stream = |id| StreamCount {
        id,
        bytes: 655_360,
        blocks: 5,
    };
    Counts {
        stage,
        streams: vec![stream(1), stream(3)],
        finite: stage == Stage::Sent,
    }
}

#[test]
fn both_ends_send_counts_in_pieces_of_any_size() {
    let granted = granted();
    let mut test = running(Some(&granted));
    for stage in [Stage::Omitted, Stage::Sent] {
        let sent = counts(stage);
        test.client.send_counts(&sent);
        for byte in test.client.poll_transmit().unwrap() {
            assert_eq!(test.server.poll_action(), None);
            test.server.handle_input(&[byte], test.now);
        }
        assert_eq!(
            test.server.poll_action(),
            Some(server::Action::Counts(sent.clone()))
        );
        test.server.send_counts(&sent);
        let bytes = test.server.poll_transmit().unwrap();
        test.client.handle_input(&bytes, test.now);
        assert_eq!(
            test.client.poll_action(),
            Some(client::Action::Counts(sent))
        );
    }
}

/// A server may send its counts while the end of the test is in flight.
#[test]
fn counts_may_cross_the_end_of_the_test() {
    let granted = granted();
    let mut test = running(Some(&granted));
    test.server.send_counts(&counts(Stage::Sent));
    test.client.end_test(test.now);
    let end = test.client.poll_transmit().unwrap();
    let sent = test.server.poll_transmit().unwrap();
    test.client.handle_input(&sent, test.now);
    assert!(matches!(
        test.client.poll_action(),
        Some(client::Action::Counts(_))
    ));
    test.server.handle_input(&end, test.now);
    assert_eq!(test.server.poll_action(), Some(server::Action::EndTest));
}

#[test]
fn other_programs_neither_get_counts_nor_may_send_any() {
    let old = Granted {
        exact: false,
        ..granted()
    };
    for granted in [None, Some(&old)] {
        let mut test = running(granted);
        test.client.send_counts(&counts(Stage::Sent));
        test.server.send_counts(&counts(Stage::Sent));
        assert_eq!(test.client.poll_transmit(), None);
        assert_eq!(test.server.poll_transmit(), None);
        test.client.handle_input(&[COUNTS], test.now);
        test.server.handle_input(&[COUNTS], test.now);
        assert!(matches!(
            test.client.poll_action(),
            Some(client::Action::Fail(client::Failure::UnknownMessage(66)))
        ));
        assert!(matches!(
            test.server.poll_action(),
            Some(server::Action::Fail(server::Failure::UnknownMessage(66)))
        ));
    }
}

#[test]
fn counts_that_make_no_sense_end_the_test() {
    let granted = granted();
    let long = [COUNTS, 0x7f, 0xff, 0xff, 0xff].to_vec();
    for bad in [long, [&[COUNTS][..], &frame("{}")].concat()] {
        let mut test = running(Some(&granted));
        test.client.handle_input(&bad, test.now);
        test.server.handle_input(&bad, test.now);
        assert!(matches!(
            test.client.poll_action(),
            Some(client::Action::Fail(client::Failure::CountsUnreadable(_)))
        ));
        assert!(matches!(
            test.server.poll_action(),
            Some(server::Action::Fail(server::Failure::CountsUnreadable(_)))
        ));
    }
}
