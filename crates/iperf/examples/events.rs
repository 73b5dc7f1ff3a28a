//! Follows a UDP test while it runs, and ends it early: `cargo run -p iperf --example events`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use iperf::{Client, Error, Event, Server};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let server = Server::builder().bind("127.0.0.1").port(0).start().await?;
    let port = server.address().map_or(5201, |address| address.port());
    let client = Client::builder("127.0.0.1")
        .port(port)
        .udp()
        .bitrate(20_000_000)
        .duration(Duration::from_secs(3600))
        .interval(Duration::from_millis(100))
        .build()?;

    let mut test = client.start()?;
    let mut intervals = 0;
    while let Some(event) = test.events().next().await {
        match event {
            Event::StreamOpened(stream) => println!("from {} to {}", stream.local, stream.remote),
            Event::Interval(interval) => {
                intervals += 1;
                println!("{:.1} Mbit/s", interval.bits_per_second() / 1e6);
                if intervals == 3 {
                    test.stop();
                }
            }
            _ => {}
        }
    }
    let document = test.document().await?;
    println!("stopped: {}", document.error.unwrap_or_default());
    Ok(())
}
