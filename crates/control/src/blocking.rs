//! Work that blocks, on a separate thread. A thread that the system refuses is an error here, and a panic in
//! `tokio::task::spawn_blocking`.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use iperf_model::reason;
use tokio::sync::oneshot;

/// The end of such work, to be awaited. Dropping it does not end the work.
#[derive(Debug)]
pub struct Blocking<T>(Result<oneshot::Receiver<T>, Option<io::Error>>);

/// Runs `work` on a separate thread.
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("iperf-blocking".to_owned())
        .spawn(move || {
            // The receiver may be gone.
            drop(sender.send(work()));
        });
    Blocking(
        thread
            .map(|_| receiver)
            .map_err(|error| Some(refused(&error))),
    )
}

fn refused(error: &io::Error) -> io::Error {
    let text = format!("unable to start a thread: {}", reason(error));
    io::Error::new(error.kind(), text)
}

impl<T> Future for Blocking<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let ended = || io::Error::other("a thread has panicked");
        match &mut self.0 {
            Ok(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|result| result.map_err(|_| ended())),
            Err(error) => Poll::Ready(Err(error.take().unwrap_or_else(ended))),
        }
    }
}

/// The addresses of a host. A name is looked up on a separate thread, which may take any time.
pub async fn lookup_host(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    spawn_blocking(move || match (host.as_str(), port).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(with_cause(error, &["/etc/hosts", "/etc/resolv.conf"])),
    })
    .await?
}

/// Adds to the resolver's error that there is none of the files that names come from, as in an image from scratch.
fn with_cause(error: io::Error, sources: &[&str]) -> io::Error {
    if sources.iter().any(|file| Path::new(file).exists()) {
        return error;
    }
    let sources = sources.join(" nor ");
    let text = format!(
        "{}; there is neither {sources}, so only addresses work",
        reason(&error)
    );
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_work_is_done_and_a_panic_is_an_error() {
        assert_eq!(spawn_blocking(|| 7).await.unwrap(), 7);
        let error = spawn_blocking(|| panic!("as the test wants it"));
        assert_eq!(
            error.await.unwrap_err().to_string(),
            "a thread has panicked"
        );
    }

    #[test]
    fn a_root_without_sources_of_names_is_named() {
        let error = || io::Error::other("Temporary failure in name resolution");
        let kept = with_cause(error(), &["/no/such", "/proc"]).to_string();
        assert_eq!(kept, "Temporary failure in name resolution");
        let named = with_cause(error(), &["/no/hosts", "/no/resolv.conf"]).to_string();
        let want = "Temporary failure in name resolution; there is neither /no/hosts nor /no/resolv.conf, so only \
                    addresses work";
        assert_eq!(named, want);
    }

    #[tokio::test]
    async fn addresses_and_names_have_addresses() {
        let address = "192.0.2.1:7".parse().unwrap();
        assert_eq!(lookup_host("192.0.2.1", 7).await.unwrap(), [address]);
        assert!(!lookup_host("localhost", 7).await.unwrap().is_empty());
        assert!(lookup_host("no.such.name.invalid", 7).await.is_err());
    }
}
