use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use iperf_model::{Listen, ServerConfig};
use iperf_proto::state::State;
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

fn cookie() -> Cookie {
    Cookie::from_wire([b'a'; Cookie::LEN])
}

fn send_params(client: &mut TcpStream, params: &[u8]) {
    let length = u32::try_from(params.len()).unwrap().to_be_bytes();
    client.write_all(&[&length[..], params].concat()).unwrap();
}

fn new_client(connections: mpsc::Receiver<Identified>, peer: SocketName) -> NewClient {
    NewClient {
        cookie: cookie(),
        peer,
        connections,
        config: Arc::new(config()),
        listener: None,
        port_permits: PortPermits::new(),
        refusals: Refusals::new(),
        authorizer: None,
        slots: None,
        limit: Duration::from_secs(1),
        on_accepted: Box::new(|| ()),
    }
}

/// A server that is stopped as soon as a client has its answer must have reported why.
#[tokio::test]
async fn a_client_is_told_why_it_gets_no_test_when_the_server_has_reported_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut client, stream) = connection(&listener).await;
    send_params(&mut client, br#"{"tcp":true,"time":1,"parallel":100000}"#);
    let (_sender, connections) = mpsc::channel(1);
    let (_handle, stop) = Stop::new();
    let peer = SocketName::from(listener.local_addr().unwrap());
    let dropped = run(new_client(connections, peer), stream, stop).await;
    let dropped = dropped.err().unwrap();
    assert!(matches!(dropped.error, Some(TestError::Refused(_))));

    let mut answer = [0; 16];
    let request = client.read(&mut answer).unwrap();
    assert_eq!(answer[..request], [State::ParamExchange.to_byte()]);
    client.set_nonblocking(true).unwrap();
    let early = client.read(&mut answer).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::WouldBlock);

    client.set_nonblocking(false).unwrap();
    let told = tokio::spawn(dropped.farewell.unwrap().say());
    let length =
        iperf_control::spawn_blocking(move || client.read(&mut answer).map(|n| (n, answer)));
    let (length, answer) = length.await.unwrap().unwrap();
    assert_eq!(answer[..length][..1], [State::ServerError.to_byte()]);
    told.await.unwrap();
}

/// Each of its data connections arrives within the time for one, but the handshake as a whole has a limit too.
#[tokio::test]
async fn one_data_connection_after_another_does_not_extend_a_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut client, stream) = connection(&listener).await;
    send_params(
        &mut client,
        br#"{"tcp":true,"time":1,"parallel":128,"len":1000}"#,
    );
    let (sender, connections) = mpsc::channel(256);
    let (_handle, stop) = Stop::new();
    let peer = SocketName::from(listener.local_addr().unwrap());
    let handshake = tokio::spawn(run(new_client(connections, peer), stream, stop));
    let mut clients = Vec::new();
    for order in 0..127 {
        let (client, stream) = connection(&listener).await;
        clients.push(client);
        let identified = Identified {
            cookie: cookie(),
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
