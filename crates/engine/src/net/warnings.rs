//! Warnings about streams, collected where they are opened and reported where events are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What differs from the request, each difference once however many streams it concerns. Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Adds a warning.
    pub fn add(&self, text: String) {
        let mut texts = self.lock();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }

    /// Takes all that were added so far.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_about_many_streams_is_one() {
        let warnings = Warnings::default();
        for text in ["no pacing", "no offload", "no pacing"] {
            warnings.clone().add(text.to_owned());
        }
        assert_eq!(warnings.take(), ["no pacing", "no offload"]);
        assert!(warnings.take().is_empty());
    }
}
