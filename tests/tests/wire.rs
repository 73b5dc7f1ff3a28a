//! The raw peers of the harness get through a whole test with the real programs.

use iperf_harness::pair::start_client;
use iperf_harness::wire::{DISPLAY_RESULTS, IPERF_DONE, RESULTS, RawClient, RawServer};
use iperf_harness::{HANG, Peer, Server, peer};

#[test]
fn a_raw_client_completes_a_test_with_every_server() {
    for peer in [Peer::Ours].into_iter().chain(peer::REAL) {
        let server = Server::start(peer, &["-1"]);
        let mut client = RawClient::up_to_results(server.port());
        client.control.send_json(RESULTS);
        let results = client.control.expect_json();
        assert!(
            results.contains("\"streams\":[{\"id\":1,"),
            "{peer}: {results}"
        );
        client.control.expect(DISPLAY_RESULTS);
        client.control.send(&[IPERF_DONE]);
        drop(client);
        let end = server.finish(HANG);
        assert!(end.succeeded(), "{end}");
    }
}

#[test]
fn a_raw_server_completes_a_test_with_every_client() {
    for peer in [Peer::Ours].into_iter().chain(peer::REAL) {
        let server = RawServer::start(|stage| {
            let results = stage.take_results();
            assert!(results.contains("\"streams\":[{\"id\":1,"), "{results}");
            stage.control.send_json(RESULTS);
            stage.control.send(&[DISPLAY_RESULTS]);
            stage.control.expect(IPERF_DONE);
        });
        let client = start_client(peer, server.port(), "-t 1 -b 20M");
        let end = client.finish(HANG);
        assert!(end.succeeded(), "{end}");
        server.finish();
    }
}
