//! Clients whose streams are open, and whose test does not begin.

use crate::error::TestError;
use crate::handshake::{Dropped, ReadyTest};

/// Tells a client whose streams are open why its test fails.
pub(crate) fn turn_away(mut ready: ReadyTest, error: TestError) -> Dropped {
    error.tell(&mut ready.talk.machine);
    part(ready);
    Dropped {
        error: Some(error),
        began: None,
        had_params: true,
    }
}

/// Tells a client whose streams are open that the server is busy.
pub(crate) fn deny(mut ready: ReadyTest) {
    ready.talk.machine.deny();
    part(ready);
}

fn part(ready: ReadyTest) {
    tokio::spawn(async move {
        let ReadyTest { talk, plan, .. } = ready;
        talk.close(None).await;
        // Its streams are closed after the message.
        drop(plan);
    });
}
