//! Waiting for something to hold.

use std::time::Duration;
use tokio::time::Instant;

/// Far longer than anything here takes on a busy machine: who waits this long waits for something that does not come.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks. A condition of the outside (a row, a queue's depth) gives no signal of its own.
const TICK: Duration = Duration::from_millis(10);

/// Waits until `holds` gives a value, at most [`DEADLINE`].
///
/// # Panics
/// With what was waited for, once the deadline has passed.
pub async fn eventually<T>(what: &str, holds: impl AsyncFnMut() -> Option<T>) -> T {
    within(DEADLINE, what, holds).await
}

/// As [`eventually`], with a deadline of its own: for a backlog that takes its time.
pub async fn within<T>(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = holds().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {} s for {what}, and it did not come", limit.as_secs());
        tokio::time::sleep(TICK).await;
    }
}
