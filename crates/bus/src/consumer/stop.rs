//! How the steps of a batch meet the end of their lane.

use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The lane was asked to stop before it could settle its batch: nothing is acknowledged, everything comes again.
pub(super) struct Stop;

/// Sleeps, unless the lane is asked to stop before the time is up.
pub(super) async fn pause(delay: Duration, stop: &CancellationToken) -> Result<(), Stop> {
    tokio::select! {
        () = stop.cancelled() => Err(Stop),
        () = tokio::time::sleep(delay) => Ok(()),
    }
}
