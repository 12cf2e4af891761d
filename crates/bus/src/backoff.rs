//! Growing delays between attempts.
//!
//! The crate `backoff` is named by the product's user and is unmaintained (RUSTSEC-2025-0012), so it is used here and
//! nowhere else, as a generator of delays; sleeping is tokio's. To replace it, replace this file.

use ::backoff::backoff::Backoff;
use ::backoff::exponential::{ExponentialBackoff, ExponentialBackoffBuilder};
use std::time::Duration;

/// Delays that double from a first to a greatest one, each up to half shorter or longer by chance, so that a fleet
/// which lost its server does not come back in step. They never end.
pub struct Delays {
    generator: ExponentialBackoff<::backoff::SystemClock>,
    greatest: Duration,
}

impl Delays {
    /// From `first` to `greatest`.
    pub fn new(first: Duration, greatest: Duration) -> Self {
        let generator = ExponentialBackoffBuilder::new()
            .with_initial_interval(first)
            .with_max_interval(greatest)
            .with_multiplier(2.0)
            .with_randomization_factor(0.5)
            // By default the crate gives up after 15 minutes; an outage may last longer.
            .with_max_elapsed_time(None)
            .build();
        Self { generator, greatest }
    }

    /// For a server that is away: from 50 ms to 2 s, so that its return is noticed soon.
    pub fn for_servers() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(2))
    }

    /// How long to wait now.
    pub fn next_delay(&mut self) -> Duration {
        self.generator.next_backoff().unwrap_or(self.greatest)
    }

    /// It worked: the next delay is the first again.
    pub fn reset(&mut self) {
        self.generator.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_greatest_and_start_again_after_a_reset() {
        let (first, greatest) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut delays = Delays::new(first, greatest);
        let drawn: Vec<Duration> = (0..50).map(|_| delays.next_delay()).collect();
        assert!(drawn[0] <= first * 3 / 2);
        assert!(drawn.iter().all(|delay| *delay <= greatest * 3 / 2 + Duration::from_millis(1)));
        assert!(
            drawn[20..].iter().all(|delay| *delay >= greatest / 2),
            "no delay is forgotten, none ends the row"
        );
        delays.reset();
        assert!(delays.next_delay() <= first * 3 / 2);
    }
}
