//! The user's wish to stop: SIGINT, SIGTERM or SIGHUP.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether a signal has come. A second one ends the process at once; supervisors then end their commands.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Catches the signals.
    pub fn catch() -> io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        let second = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the flag is not yet set when the first signal looks.
            flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&second))?;
            flag::register(number, Arc::clone(&second))?;
            let value = usize::try_from(number).unwrap_or(0);
            flag::register_usize(number, Arc::clone(&signal), value)?;
        }
        Ok(Self(signal))
    }

    /// The received signal.
    pub fn requested(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::Relaxed))
            .ok()
            .filter(|signal| *signal > 0)
    }
}
