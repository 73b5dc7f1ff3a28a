//! Request/response tests: the workers of both ends, and their statistics.
//!
//! ```text
//! Requester ── request ──► Responder      a step of either is one send or one receive
//!     ▲                        │
//!     └─────── response ───────┘
//!     │ records into Timings (no lock, no allocation) ──► ExchangeStats, read at each tick
//! ```
//!
//! In a closed loop with one request in flight ([`OneInFlight`] over streams, [`Requester`] with datagrams) a
//! transaction is recorded only after the next request is sent. Requesters' and responders' threads have their own
//! descriptor table, with only their socket in it ([`worker::own_descriptors`](crate::worker::own_descriptors)).
//!
//! A requester ends by itself when the time of its test is over, and counts nothing from then on: hundreds of busy threads
//! could keep the driver from stopping them for seconds.
//!
//! A closed loop reads the clock once for a transaction: the end of one is the start of the next. With a connection for
//! each transaction it reads it three times, and the workers are others: `Reconnecting` and `Accepting`.

mod accepting;
mod claim;
mod one_in_flight;
mod peer;
mod reconnecting;
mod requester;
mod responder;
mod schedule;
mod stats;
mod time_limit;
mod timings;
mod window;

use std::os::fd::AsFd;

use iperf_model::{Exchange, TestConfig, Transport, reason};
use iperf_zc::sockopt;
use tracing::debug;

use crate::exchange::accepting::Accepting;
use crate::exchange::one_in_flight::OneInFlight;
use crate::exchange::reconnecting::Reconnecting;
use crate::exchange::requester::Requester;
use crate::exchange::responder::Responder;
pub(crate) use crate::exchange::schedule::Schedule;
pub(crate) use crate::exchange::stats::ExchangeStats;
pub(crate) use crate::exchange::time_limit::TimeLimit;
pub(crate) use crate::exchange::timings::{Snapshot, Timings};
use crate::net::transactions::Transactions;
use crate::worker::{Task, Worker, payload};

/// The worker of a stream: a requester if `stats` are one's. With a connection for each transaction, `transactions` opens
/// or accepts them.
pub(crate) fn worker(
    task: Task,
    exchange: Exchange,
    stats: &ExchangeStats,
    config: &TestConfig,
    transactions: Option<Transactions>,
) -> Box<dyn Worker> {
    let time_limit = TimeLimit::new(config);
    let payload = |bytes: u32| payload::block(config.payload, bytes as usize);
    match (transactions, stats.shared()) {
        (Some(Transactions::Open(connector)), Some(shared)) => {
            let request = payload(exchange.request);
            return Box::new(Reconnecting::new(
                task, exchange, &request, shared, connector, time_limit,
            ));
        }
        (Some(Transactions::Accept(listener)), None) => {
            let response = payload(exchange.response);
            return Box::new(Accepting::new(task, exchange, &response, listener));
        }
        _ => {}
    }
    if !exchange.busy_poll.is_zero()
        && let Err(error) = sockopt::set_busy_poll(task.socket.as_fd(), exchange.busy_poll)
    {
        // The worker spins all the same; the driver of the network card does not.
        debug!("SO_BUSY_POLL is not set: {}", reason(&error));
    }
    let datagrams = config.transport == Transport::Udp;
    let messages = config.transport == Transport::VsockSeqpacket;
    let Some(shared) = stats.shared() else {
        let response = payload(exchange.response);
        let responder = Responder::new(task, exchange, &response, datagrams, messages);
        return Box::new(responder);
    };
    let request = payload(exchange.request);
    if !datagrams && !exchange.is_open_loop() && exchange.in_flight == 1 {
        return Box::new(OneInFlight::new(
            task, exchange, &request, shared, time_limit,
        ));
    }
    Box::new(Requester::new(
        task, exchange, &request, shared, datagrams, messages, time_limit,
    ))
}
