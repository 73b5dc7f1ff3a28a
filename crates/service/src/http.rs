//! A small HTTP server for scrapers: GET and HEAD, one request a connection, a bounded number of connections, and a
//! deadline for each.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// Connections at the same time. More are closed at once.
const MAX_CONNECTIONS: usize = 64;

/// How long the head of a request may take.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may take, not counting the answer.
const SLACK: Duration = Duration::from_secs(10);

/// The longest head of a request in bytes.
const MAX_HEAD: usize = 16 << 10;

/// How long to accept nothing after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Prometheus states how long it waits.
const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Without the query.
    pub path: String,
    /// Names and values of the query, decoded.
    pub query: Vec<(String, String)>,
    /// The `Accept` header; empty without one.
    pub accept: String,
    /// How long Prometheus waits for the answer.
    pub scrape_timeout: Option<Duration>,
}

impl Request {
    /// The first value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Response {
    /// Plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one.
    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// The longest time that an answer takes.
    fn limit(&self) -> Duration {
        Duration::ZERO
    }
}

/// Listens on `ADDR:PORT`; on all addresses if `ADDR` is empty.
pub fn listen(address: &str) -> io::Result<TcpListener> {
    match address.strip_prefix(':').map(str::parse::<u16>) {
        // A machine without IPv6 has no ::.
        Some(Ok(port)) => TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))),
        _ => TcpListener::bind(address),
    }
}

/// Serves requests on a thread of its own, for as long as the process lives.
pub fn spawn(listener: TcpListener, handler: impl Handler) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new()
        .name("iperf-http".to_owned())
        .spawn(move || runtime.block_on(serve(listener, Arc::new(handler))))?;
    Ok(address)
}

/// Serves requests until the caller drops the future.
pub async fn serve(listener: TcpListener, handler: Arc<impl Handler>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "can't serve HTTP"),
    };
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "can't accept an HTTP connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            debug!("too many HTTP connections");
            continue;
        };
        let handler = handler.clone();
        tokio::spawn(async move {
            let limit = handler.limit() + SLACK;
            let service = service_fn(|request| {
                let handler = handler.clone();
                async move { Ok::<_, Infallible>(answer(handler.as_ref(), &request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .keep_alive(false)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(limit, connection).await {
                debug!(%error, "an HTTP connection failed");
            }
            drop(permit);
        });
    }
}

async fn answer(
    handler: &impl Handler,
    request: &hyper::Request<Incoming>,
) -> hyper::Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = into_hyper(Response::text(405, "only GET and HEAD\n"));
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let header = |name: HeaderName| {
        let value = request.headers().get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    };
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let seconds: Option<f64> = header(SCRAPE_TIMEOUT).parse().ok();
    let request = Request {
        path: request.uri().path().to_owned(),
        query: form_urlencoded::parse(query).into_owned().collect(),
        accept: header(ACCEPT).to_owned(),
        scrape_timeout: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    };
    into_hyper(handler.answer(request).await)
}

fn into_hyper(response: Response) -> hyper::Response<Full<Bytes>> {
    let mut answer = hyper::Response::new(Full::new(Bytes::from(response.body)));
    *answer.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static(response.content_type),
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    struct Echo;

    impl Handler for Echo {
        async fn answer(&self, request: Request) -> Response {
            Response::text(200, format!("{request:?}"))
        }
    }

    fn exchange(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        // It may be closed before all is written.
        let _ = stream.write_all(text.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn a_port_alone_means_all_addresses() {
        let listener = listen(":0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listener.local_addr().unwrap().ip().is_unspecified());
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        let one = listen("127.0.0.1:0").unwrap();
        assert!(one.local_addr().unwrap().ip().is_loopback());
    }

    #[test]
    fn requests_are_read_and_other_methods_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = spawn(listener, Echo).unwrap();
        let answer = exchange(
            address,
            "GET /probe?target=a%20b&port=1 HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 2.5\r\n\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let read = r#"path: "/probe", query: [("target", "a b"), ("port", "1")], accept: "", scrape_timeout: Some(2.5s)"#;
        assert!(answer.contains(read), "{answer}");
        let refused = exchange(address, "POST / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
        let nonsense = exchange(address, "\0\0\0\r\n\r\n");
        assert!(nonsense.starts_with("HTTP/1.1 400 "), "{nonsense}");
        let endless = exchange(
            address,
            &format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000)),
        );
        assert!(!endless.contains("200 OK"), "{endless}");
    }

    #[test]
    fn silent_connections_do_not_keep_others_out_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = spawn(listener, Echo).unwrap();
        let silent: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let mut tries = 0;
        while !exchange(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").contains("200 OK") {
            tries += 1;
            assert!(tries < 300, "silent connections stay");
            thread::sleep(Duration::from_millis(100));
        }
        drop(silent);
    }
}
