//! Refusing a client after its streams were opened.

use crate::error::TestError;
use crate::handshake::{Dropped, ReadyTest};

/// Reports the reason of a failed test to a client with open streams.
pub(crate) fn turn_away(mut ready: ReadyTest, error: TestError) -> Dropped {
    error.tell(&mut ready.talk.machine);
    part(ready);
    Dropped::new(error, true)
}

/// Reports to a client with open streams that the server is busy.
pub(crate) fn deny(mut ready: ReadyTest) {
    ready.talk.machine.deny();
    part(ready);
}

fn part(ready: ReadyTest) {
    let ReadyTest { talk, plan, slot } = ready;
    // The client may try again as soon as it knows.
    drop(slot);
    tokio::spawn(async move {
        talk.close(None).await;
        // Its streams are closed after the message.
        drop(plan);
    });
}
