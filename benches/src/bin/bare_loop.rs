//! A bare loop of system calls: what a request/response test costs at least. It sends a request, receives its response,
//! reads the clock, and does nothing else; the latencies are sorted at the end.
//!
//! ```text
//! bare_loop server tcp|vsock ADDRESS PORT BYTES
//! bare_loop client tcp|vsock ADDRESS PORT BYTES SECONDS
//! ```
//!
//! The client prints its result in the form of netperf's `-k`, but in fractions of a microsecond.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool of the benchmarks"
)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

const USAGE: &str = "bare_loop server|client tcp|vsock ADDRESS PORT BYTES [SECONDS]";

/// Round trips for which there is room.
const ROOM: usize = 20_000_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare_loop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, USAGE)
}

fn parsed<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| usage())
}

fn run(args: &[String]) -> io::Result<()> {
    let [role, kind, address, port, bytes, rest @ ..] = args else {
        return Err(usage());
    };
    let at = match kind.as_str() {
        "tcp" => SocketAddr::from((parsed::<Ipv4Addr>(address)?, parsed::<u16>(port)?)).into(),
        "vsock" => SockAddr::vsock(parsed(address)?, parsed(port)?),
        _ => return Err(usage()),
    };
    let socket = Socket::new(at.domain(), Type::STREAM, None)?;
    let mut message = vec![0; parsed::<usize>(bytes)?.clamp(1, 1 << 20)];
    match (role.as_str(), rest) {
        ("server", []) => serve(&socket, &at, &mut message),
        ("client", [seconds]) => {
            socket.connect(&at)?;
            no_delay(&socket)?;
            request(&socket, &mut message, Duration::from_secs(parsed(seconds)?))
        }
        _ => Err(usage()),
    }
}

/// Answers one client after another, until it is killed.
fn serve(listener: &Socket, at: &SockAddr, message: &mut [u8]) -> io::Result<()> {
    listener.set_reuse_address(true)?;
    listener.bind(at)?;
    listener.listen(1)?;
    println!("Server listening");
    loop {
        let (connection, _) = listener.accept()?;
        no_delay(&connection)?;
        // However a connection ends, there is a next one.
        let _ = answer(&connection, message);
    }
}

fn no_delay(connection: &Socket) -> io::Result<()> {
    if connection.domain()? == Domain::IPV4 {
        connection.set_tcp_nodelay(true)?;
    }
    Ok(())
}

fn answer(mut connection: &Socket, message: &mut [u8]) -> io::Result<()> {
    loop {
        connection.read_exact(message)?;
        connection.write_all(message)?;
    }
}

fn request(mut connection: &Socket, message: &mut [u8], time: Duration) -> io::Result<()> {
    let mut round_trips = Vec::with_capacity(ROOM);
    let start = Instant::now();
    let mut last = start;
    while last - start < time && round_trips.len() < ROOM {
        connection.write_all(message)?;
        connection.read_exact(message)?;
        let now = Instant::now();
        round_trips.push(now - last);
        last = now;
    }
    report(&mut round_trips, last - start);
    Ok(())
}

fn report(round_trips: &mut [Duration], elapsed: Duration) {
    round_trips.sort_unstable();
    let seconds = elapsed.as_secs_f64();
    let count = round_trips.len();
    let percentile = |percent: usize| {
        let time = round_trips.get(count * percent / 100).copied();
        time.unwrap_or_default().as_secs_f64() * 1e6
    };
    println!("THROUGHPUT={}", count as f64 / seconds);
    println!("THROUGHPUT_UNITS=Trans/s");
    println!("ELAPSED_TIME={seconds}");
    println!("MEAN_LATENCY={}", seconds * 1e6 / count.max(1) as f64);
    println!("P50_LATENCY={}", percentile(50));
    println!("P99_LATENCY={}", percentile(99));
}
