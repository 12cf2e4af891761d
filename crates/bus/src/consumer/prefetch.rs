//! How many messages a lane has delivered in advance.
//!
//! All of them lie in memory, and the broker knows a limit by their number alone. So a lane begins with few, and what it then
//! reads says how many there may be: many small ones, for a batch is as large as what is there, or few large ones.

use super::worker::Worker;
use std::time::Duration;
use tokio::time::Instant;

/// What a lane's messages may take, were they all as large as the largest of its latest batch.
const BYTES: usize = 32 * 1024 * 1024;

/// Before anything is known. A message has a megabyte at most where strangers write.
const FIRST: u16 = 50;

/// After it was made smaller it stays so for this long: sizes alternate, and each change costs the broker a consumer.
const CALM: Duration = Duration::from_secs(60);

pub(super) struct Prefetch {
    pub messages: u16,
    most: u16,
    grows_at: Instant,
}

impl Prefetch {
    /// What a lane begins with.
    pub fn of<W: Worker>() -> Self {
        Self { messages: W::PREFETCH.min(FIRST), most: W::PREFETCH, grows_at: Instant::now() }
    }

    /// Tells whether it is another one now.
    pub fn adapts_to(&mut self, largest: usize) -> bool {
        let fits = u16::try_from(BYTES / largest.max(1)).unwrap_or(u16::MAX).clamp(1, self.most);
        let is_smaller = fits < self.messages;
        // A little more is not worth it.
        let is_larger = fits / 2 >= self.messages || fits == self.most && fits > self.messages;
        if is_smaller {
            self.grows_at = Instant::now() + CALM;
        }
        let changes = is_smaller || is_larger && Instant::now() >= self.grows_at;
        if changes {
            self.messages = fits;
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_messages_are_fetched_in_advance_and_few_large_ones() {
        let mut prefetch = Prefetch { messages: 50, most: 500, grows_at: Instant::now() };
        assert!(prefetch.adapts_to(2_000));
        assert_eq!(prefetch.messages, 500);
        assert!(!prefetch.adapts_to(60_000), "that fits");
        assert!(prefetch.adapts_to(1024 * 1024));
        assert_eq!(prefetch.messages, 32);
        assert!(!prefetch.adapts_to(2_000), "not so soon again");
        prefetch.grows_at = Instant::now();
        assert!(prefetch.adapts_to(2_000));
        assert!(prefetch.adapts_to(usize::MAX));
        assert_eq!(prefetch.messages, 1);
    }
}
