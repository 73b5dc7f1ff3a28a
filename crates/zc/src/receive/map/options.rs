//! How to receive by mapping.

use crate::sys::mapping::page_size;

/// How to receive by mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapOptions {
    /// Bytes of a block, for counting; not 0.
    pub block: usize,
    /// The most bytes read at a time if nothing can be mapped; not 0.
    pub room: usize,
    /// Bytes of address space for pages: the most that one call maps. It is rounded up to whole pages.
    pub window: usize,
    /// The data is in pages of a sender on this machine, which can't be mapped over vsock. Affects only the reported
    /// reason for copying.
    pub senders_pages: bool,
}

/// A window that holds what arrives while a receiver works, and is small compared with the caches.
pub const DEFAULT_WINDOW: usize = 2 << 20;

impl MapOptions {
    /// Blocks of `block` bytes, the default window, falling back if necessary.
    pub fn new(block: usize) -> Self {
        Self {
            block,
            room: block,
            window: DEFAULT_WINDOW,
            senders_pages: false,
        }
    }

    /// Bytes of whole pages in the window, at least one.
    pub(crate) fn window(&self) -> usize {
        let page = page_size();
        self.window.div_ceil(page).clamp(1, MAX_WINDOW / page) * page
    }
}

/// The length fields of the kernel's interfaces have 32 bits, and part of them is signed.
const MAX_WINDOW: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_whole_pages() {
        let page = page_size();
        for (window, expected) in [(0, page), (1, page), (page, page), (page + 1, 2 * page)] {
            let options = MapOptions {
                window,
                ..MapOptions::new(1)
            };
            assert_eq!(options.window(), expected);
        }
        let options = MapOptions {
            window: usize::MAX,
            ..MapOptions::new(1)
        };
        assert_eq!(options.window(), MAX_WINDOW);
    }
}
