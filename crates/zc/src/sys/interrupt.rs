//! Waking a thread that is blocked in a system call.
//!
//! Data threads use plain blocking calls, which costs nothing per block. To end such a thread at once, and on any
//! kind of socket without a trace on the wire, it gets a signal whose handler does nothing: the call returns what
//! it moved so far, or `EINTR`. A signal that arrives just before the call is lost, so a caller that waits for a thread
//! repeats it until the thread is done ([`wake`]).

use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::sync::OnceLock;
use std::thread::JoinHandle;

use nix::sys::pthread::pthread_kill;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Otherwise unused: it is raised for urgent data only, and its default action is to be ignored.
pub(crate) const WAKE: Signal = Signal::SIGURG;

extern "C" fn do_nothing(_: libc::c_int) {}

/// Installs the handler, once per process. Call it before the first thread that may have to be woken.
pub fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), nix::Error>> = OnceLock::new();
    let result = INSTALLED.get_or_init(|| {
        // No SA_RESTART: the point is that the call returns.
        let action = SigAction::new(
            SigHandler::Handler(do_nothing),
            SaFlags::empty(),
            SigSet::empty(),
        );
        // SAFETY: the handler does nothing at all, so it is async-signal-safe; the action that it replaces is to
        // ignore the signal.
        unsafe { sigaction(WAKE, &action) }.map(drop)
    });
    result.map_err(io::Error::from)
}

/// Makes a blocking call of the thread return. Harmless when the thread is in none, or has ended.
pub fn wake<T>(thread: &JoinHandle<T>) {
    // The handle keeps the thread id valid until it is joined; a thread that has ended is reported as ESRCH.
    let _ = pthread_kill(thread.as_pthread_t() as _, WAKE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn a_blocked_read_returns() {
        install().unwrap();
        let (mut here, _there) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || here.read(&mut [0]).unwrap_err().kind());
        while !thread.is_finished() {
            wake(&thread);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(thread.join().unwrap(), io::ErrorKind::Interrupted);
    }
}
