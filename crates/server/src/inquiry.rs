//! Asks the holders of slots whether their clients are still there, before another client is refused.
//!
//! ```text
//!  newcomer ── Inquiry ──► handshake or test ── drops it ──► still there
//!                                └───────────── keeps it, ends, and frees its slot
//! ```
//!
//! A client's last message, or the end of its connection, may wait in the kernel: the client knows that its test is over,
//! and whatever it starts next connects. The kernel has the message before that connection, so one look at the control
//! connection decides.

use std::convert::Infallible;

use iperf_control::Control;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::yield_now;

/// A question to the holder of a slot. A holder that drops it without having freed its slot has checked, and its client
/// is still there.
#[derive(Clone, Debug)]
pub(crate) struct Inquiry(
    #[expect(dead_code, reason = "what counts is that it is dropped")] mpsc::Sender<Infallible>,
);

/// Waits for the answers.
#[derive(Debug)]
pub(crate) struct Answers(mpsc::Receiver<Infallible>);

impl Inquiry {
    pub(crate) fn new() -> (Self, Answers) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), Answers(receiver))
    }
}

impl Answers {
    /// Waits until all have checked.
    pub(crate) async fn wait(&mut self) {
        let None = self.0.recv().await;
    }
}

/// The way to the holder of a slot.
#[derive(Debug)]
pub(crate) struct Respondent(UnboundedSender<Inquiry>);

impl Respondent {
    pub(crate) fn ask(&self, inquiry: &Inquiry) {
        // A holder that no longer listens is about to free its slot, without being asked.
        drop(self.0.send(inquiry.clone()));
    }
}

/// The questions to a holder of a slot. Unbounded: each newcomer asks once, and the number of newcomers is bounded.
#[derive(Debug)]
pub(crate) struct Inquiries {
    receiver: UnboundedReceiver<Inquiry>,
    /// To be answered after the next look.
    open: Vec<Inquiry>,
}

impl Inquiries {
    pub(crate) fn new() -> (Respondent, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let open = Vec::new();
        (Respondent(sender), Self { receiver, open })
    }

    /// Waits until there is something to answer.
    pub(crate) async fn next(&mut self) {
        if self.open.is_empty() {
            match self.receiver.recv().await {
                Some(inquiry) => self.open.push(inquiry),
                None => std::future::pending().await,
            }
        }
    }

    /// Answers that the client is still there. If it has sent something that is still unread, that has to be read first,
    /// and [`next`](Self::next) returns at once.
    pub(crate) async fn answer(&mut self, control: &Control) {
        while let Ok(inquiry) = self.receiver.try_recv() {
            self.open.push(inquiry);
        }
        if control.has_unread() {
            // The runtime learns of input when its tasks pause.
            yield_now().await;
        } else {
            self.answer_all();
        }
    }

    /// Answers those that have been received.
    pub(crate) fn answer_all(&mut self) {
        self.open.clear();
    }
}
