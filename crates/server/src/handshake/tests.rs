use std::io::Write;
use std::net::TcpStream;

use iperf_model::{Listen, ServerConfig};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::*;

fn config() -> ServerConfig {
    ServerConfig::new(Listen::Inet { port: 0 })
}

/// A client's connection, and the server's end of it.
async fn connection(listener: &TcpListener) -> (TcpStream, Wire) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    (client, Wire::Tcp(accepted))
}

/// Each of its data connections arrives within the time for one, but the handshake as a whole has a limit too.
#[tokio::test]
async fn one_data_connection_after_another_does_not_extend_a_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut client, stream) = connection(&listener).await;
    let params = br#"{"tcp":true,"time":1,"parallel":128,"len":1000}"#;
    let length = u32::try_from(params.len()).unwrap().to_be_bytes();
    client.write_all(&[&length[..], params].concat()).unwrap();

    let cookie = || Cookie::from_wire([b'a'; Cookie::LEN]);
    let (sender, connections) = mpsc::channel(256);
    let (_handle, stop) = Stop::new();
    let handshake = tokio::spawn(run(
        NewClient {
            cookie: cookie(),
            peer: SocketName::from(listener.local_addr().unwrap()),
            connections,
            config: Arc::new(config()),
            listener: None,
            port_permits: PortPermits::new(),
            refusals: Refusals::new(),
            authorizer: None,
            slots: None,
            limit: Duration::from_secs(1),
            on_accepted: Box::new(|| ()),
        },
        stream,
        stop,
    ));
    let mut clients = Vec::new();
    for order in 0..127 {
        let (client, stream) = connection(&listener).await;
        clients.push(client);
        let cookie = cookie();
        let identified = Identified {
            cookie,
            stream,
            order,
        };
        if sender.send(identified).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let dropped = handshake.await.unwrap().err().unwrap();
    assert!(dropped.had_params);
    let error = dropped.error.unwrap().to_string();
    assert!(
        error.ends_with("of 128 data connections arrived within 1 s"),
        "{error}"
    );
}
