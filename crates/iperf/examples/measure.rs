//! Measures TCP in both directions to a server: `cargo run -p iperf --example measure -- HOST [PORT]`.
//!
//! Without a host it starts a server of its own on the loopback interface.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::time::Duration;

use iperf::{Client, Error, Server};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let mut words = std::env::args().skip(1);
    let mut own = None;
    let (host, port) = match words.next() {
        Some(host) if !host.starts_with('-') => {
            (host, words.next().and_then(|port| port.parse().ok()))
        }
        _ => {
            let server = Server::builder().bind("127.0.0.1").port(0).start().await?;
            let port = server.address().map(|address| address.port());
            own = Some(server);
            ("127.0.0.1".to_owned(), port)
        }
    };
    let client = Client::builder(host)
        .port(port.unwrap_or(5201))
        .duration(Duration::from_secs(1));
    for (name, client) in [("to it", client.clone()), ("from it", client.reverse())] {
        let document = client.build()?.run().await?;
        if let Some(received) = document.end.sum_received {
            println!("{name}: {:.2} Gbit/s", received.bits_per_second / 1e9);
        }
    }
    drop(own);
    Ok(())
}
