//! The one loop of a control connection, for both ends and for all their phases.
//!
//! ```text
//!  ┌─► flush ─► is there an action? ── yes ──► Step::Act
//!  │                  │ no
//!  │                  ▼
//!  │     wait for input, a deadline, a stop, or an event of the driver ──► Step::Act, Look, Stopped, Other
//!  └──────────────────────────── the driver reacts, and calls again ◄──────────────────────┘
//! ```
//!
//! What the peer has sent comes before deadlines and before the driver's own events: on a starved machine both may have
//! waited, and a stream that has ended is lost only if the peer has not said that the test is over.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use iperf_proto::Machine;
use tokio::time::sleep_until;
use tracing::debug;

use crate::wire::DetachedWire;
use crate::{Blocking, Control, Stop, StopReason};

/// How long what the peer has sent is read once the connection takes no more bytes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A control connection and the machine that speaks on it.
#[derive(Debug)]
pub struct Conversation<M> {
    /// The connection.
    pub control: Control,
    /// The machine, for its commands. What they make it send leaves with the next step or flush.
    pub machine: M,
    on_broken: OnBroken,
    /// Why the connection takes no more bytes, and until when the peer may say more.
    broken: Option<(io::Error, Instant)>,
}

/// What to do when a connection takes no more bytes because it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBroken {
    /// The conversation has failed.
    Fail,
    /// What the peer sent before is still worth reading. A peer that sends nothing more within a second has given no
    /// reason.
    ReadOn,
}

/// What a driver reacts to.
#[derive(Debug)]
pub enum Step<A, O> {
    /// An action of the state machine.
    Act(A),
    /// The driver's own event.
    Other(O),
    /// Time passed, or the peer sent something that asks for no action: time to look at the clock.
    Look,
    /// It is time to stop.
    Stopped(StopReason),
}

impl<M: Machine> Conversation<M> {
    /// Puts a machine on a connection.
    pub fn new(control: Control, machine: M, on_broken: OnBroken) -> Self {
        Self {
            control,
            machine,
            on_broken,
            broken: None,
        }
    }

    /// The next thing that the driver has to react to, at `deadline` at the latest. The machine's own deadlines are kept
    /// here.
    pub async fn next<O>(
        &mut self,
        stop: &mut Stop,
        deadline: Option<Instant>,
        other: impl Future<Output = O>,
    ) -> io::Result<Step<M::Action, O>> {
        self.flush().await?;
        if let Some(action) = self.machine.poll_action() {
            return Ok(Step::Act(action));
        }
        let last_words = self.broken.as_ref().map(|(_, until)| *until);
        if last_words.is_some_and(|until| until <= Instant::now())
            && let Some((error, _)) = self.broken.take()
        {
            return Err(error);
        }
        let times = [deadline, self.machine.poll_timeout(), last_words];
        let step = tokio::select! {
            biased;
            reason = stop.wait() => return Ok(Step::Stopped(reason)),
            input = self.control.read() => {
                self.control.feed(&input, &mut self.machine);
                None
            }
            other = other => Some(Step::Other(other)),
            () = wait_until(times.into_iter().flatten().min()) => Some(Step::Look),
        };
        let now = Instant::now();
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            self.machine.handle_timeout(now);
        }
        if let Some(step) = step {
            return Ok(step);
        }
        self.flush().await?;
        Ok(self.machine.poll_action().map_or(Step::Look, Step::Act))
    }

    /// Writes all that the machine has to send.
    pub async fn flush(&mut self) -> io::Result<()> {
        match self.control.flush(&mut self.machine).await {
            Err(error)
                if self.on_broken == OnBroken::ReadOn
                    && error.kind() != io::ErrorKind::TimedOut =>
            {
                debug!(%error, "can't write to the control connection");
                self.broken
                    .get_or_insert((error, Instant::now() + LAST_WORDS));
                Ok(())
            }
            result => result,
        }
    }

    /// Sends what is left to send and closes the connection, while the streams that close gracefully do so.
    pub async fn close(mut self, streams: Option<Blocking<()>>) {
        if let Err(error) = self.flush().await {
            debug!(%error, "can't send the last message");
        }
        let closed = async {
            if let Some(streams) = streams {
                // Without a thread the streams are closed at once.
                let _ = streams.await;
            }
        };
        tokio::join!(closed, self.control.close());
    }
}

/// A conversation on its way from one runtime to another.
#[derive(Debug)]
pub struct Detached<M> {
    wire: DetachedWire,
    machine: M,
    on_broken: OnBroken,
}

impl<M: Machine> Conversation<M> {
    /// Takes the conversation out of its runtime.
    pub fn detach(self) -> io::Result<Detached<M>> {
        Ok(Detached {
            wire: self.control.into_wire().detach()?,
            machine: self.machine,
            on_broken: self.on_broken,
        })
    }
}

impl<M: Machine> Detached<M> {
    /// Puts the conversation into the present runtime.
    pub fn attach(self) -> io::Result<Conversation<M>> {
        let control = Control::new(self.wire.attach()?)?;
        Ok(Conversation::new(control, self.machine, self.on_broken))
    }
}

/// Waits until a time, or for ever.
pub async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wire;
    use std::collections::VecDeque;
    use std::future::pending;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use tokio::runtime::{Builder, Runtime};

    /// Returns an action for each byte.
    #[derive(Default)]
    struct Bytes {
        actions: VecDeque<u8>,
        deadline: Option<Instant>,
        is_over: bool,
        unsent: Option<Vec<u8>>,
    }

    impl Machine for Bytes {
        type Action = u8;

        fn handle_input(&mut self, bytes: &[u8], _: Instant) {
            self.actions.extend(bytes);
        }

        fn handle_eof(&mut self, _: Instant) {
            self.is_over = true;
        }

        fn handle_timeout(&mut self, _: Instant) {
            self.deadline = None;
        }

        fn poll_transmit(&mut self) -> Option<Vec<u8>> {
            self.unsent.take()
        }

        fn poll_action(&mut self) -> Option<u8> {
            self.actions.pop_front()
        }

        fn poll_timeout(&self) -> Option<Instant> {
            self.deadline
        }

        fn state_name(&self) -> &'static str {
            "in a test"
        }
    }

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// A conversation and its peer.
    fn pair(runtime: &Runtime) -> (Conversation<Bytes>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let _context = runtime.enter();
        let stream = tokio::net::TcpStream::from_std(accepted).unwrap();
        let control = Control::new(Wire::Tcp(stream)).unwrap();
        let talk = Conversation::new(control, Bytes::default(), OnBroken::Fail);
        (talk, peer)
    }

    async fn next(talk: &mut Conversation<Bytes>) -> Step<u8, ()> {
        let (_handle, mut stop) = Stop::new();
        talk.next(&mut stop, None, pending::<()>()).await.unwrap()
    }

    #[test]
    fn each_action_is_a_step_of_its_own_also_in_another_runtime() {
        let first = runtime();
        let (mut talk, mut peer) = pair(&first);
        peer.write_all(b"ab").unwrap();
        let talk = first.block_on(async {
            assert!(matches!(next(&mut talk).await, Step::Act(b'a')));
            talk.detach().unwrap()
        });
        drop(first);
        runtime().block_on(async {
            let mut talk = talk.attach().unwrap();
            assert!(matches!(next(&mut talk).await, Step::Act(b'b')));
            peer.write_all(b"c").unwrap();
            assert!(matches!(next(&mut talk).await, Step::Act(b'c')));
            drop(peer);
            assert!(matches!(next(&mut talk).await, Step::Look));
            assert!(talk.machine.is_over);
        });
    }

    #[test]
    fn a_connection_that_takes_no_more_bytes_fails_once_the_peer_has_said_all() {
        let runtime = runtime();
        let (mut talk, mut peer) = pair(&runtime);
        talk.on_broken = OnBroken::ReadOn;
        talk.machine.unsent = Some(b"x".to_vec());
        let own = socket2::SockRef::from(&*talk.control.socket()).try_clone();
        own.unwrap().shutdown(std::net::Shutdown::Write).unwrap();
        peer.write_all(b"a").unwrap();
        runtime.block_on(async {
            assert!(matches!(next(&mut talk).await, Step::Act(b'a')));
            assert!(matches!(next(&mut talk).await, Step::Look));
            let (_handle, mut stop) = Stop::new();
            let error = talk.next(&mut stop, None, pending::<()>()).await;
            let error = error.map(drop).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        });
    }

    #[test]
    fn what_the_peer_has_sent_comes_before_deadlines_and_events_that_waited_too() {
        let runtime = runtime();
        let (mut talk, mut peer) = pair(&runtime);
        runtime.block_on(async {
            // A choice by chance would be right a few times in a row.
            for _ in 0..32 {
                peer.write_all(b"a").unwrap();
                // The runtime learns of input when it waits.
                tokio::time::sleep(Duration::from_millis(2)).await;
                let past = Instant::now();
                let (_handle, mut stop) = Stop::new();
                let step = talk.next(&mut stop, Some(past), async {}).await.unwrap();
                assert!(matches!(step, Step::Act(b'a')), "{step:?}");
            }
        });
    }

    #[test]
    fn the_machine_learns_of_its_deadlines_and_a_stop_is_a_step() {
        let runtime = runtime();
        let (mut talk, _peer) = pair(&runtime);
        talk.machine.deadline = Some(Instant::now());
        runtime.block_on(async {
            assert!(matches!(next(&mut talk).await, Step::Look));
            assert_eq!(talk.machine.deadline, None);
            let (handle, mut stop) = Stop::new();
            handle.stop(StopReason::Requested);
            let step = talk.next(&mut stop, None, pending::<()>()).await.unwrap();
            assert!(matches!(step, Step::Stopped(StopReason::Requested)));
        });
    }
}
