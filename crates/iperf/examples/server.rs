//! A server that prints the client and the result of each test, and ends after two: `cargo run -p iperf --example server`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use iperf::{Client, Error, Server};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let mut server = Server::builder().bind("127.0.0.1").port(0).start().await?;
    let port = server.address().map_or(5201, |address| address.port());
    println!("listening on port {port}");
    for size in [1_000_000, 2_000_000] {
        // Anybody may be the client: iperf3 -c 127.0.0.1 -p PORT -n 1M
        let client = Client::builder("127.0.0.1").port(port).bytes(size);
        let client = client.connect_timeout(Duration::from_secs(5)).build()?;
        client.run().await?;
        if let Some(test) = server.next_test().await {
            let bytes = test.end.sum_received.map_or(0, |sum| sum.bytes);
            println!("received {bytes} bytes");
        }
    }
    server.stop();
    server.stopped().await
}
