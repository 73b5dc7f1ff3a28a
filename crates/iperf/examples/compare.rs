//! Decides whether a setting changes the rate: runs of both sides in turn, and a verdict as of `iperf compare`:
//! `cargo run -p iperf --example compare`.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use iperf::results::compare::{Comparison, Settings, Side};
use iperf::results::{format, from_document};
use iperf::{Client, Error, Server};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let server = Server::builder().bind("127.0.0.1").port(0).start().await?;
    let port = server.address().map_or(5201, |address| address.port());
    let base = Client::builder("127.0.0.1").port(port).bytes(20_000_000);
    let new = base.clone().length(4096);
    let clients = [("base", base.build()?), ("new", new.build()?)];
    let mut sides = clients.each_ref().map(|(name, _)| Side {
        name: (*name).to_owned(),
        records: Vec::new(),
    });
    for _ in 0..5 {
        for ((name, client), side) in clients.iter().zip(&mut sides) {
            let document = client.run().await?;
            match from_document(name, &document) {
                Ok(record) => side.records.push(record),
                Err(error) => println!("{error}"),
            }
        }
    }
    let settings = Settings {
        ignore: vec!["block".to_owned()],
        ..Settings::default()
    };
    let comparison = Comparison::new(&sides, &settings);
    println!("{:?}", comparison.outcome());
    println!(
        "{}",
        format::comparison(format::Format::Text, &sides, &comparison)
    );
    Ok(())
}
