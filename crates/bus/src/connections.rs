//! Every connection of the process: at its end they are closed in order, whichever way it came to that.

use futures_util::future::join_all;
use lapin::Connection;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Mutex;

/// Where a broker keeps its connection; held by whoever makes one.
pub(crate) type Place = Mutex<Option<Arc<Connection>>>;

/// Closing is a courtesy, and whoever waits for it wants to go.
const PATIENCE: Duration = Duration::from_secs(1);

static PLACES: std::sync::Mutex<Vec<Weak<Place>>> = std::sync::Mutex::new(Vec::new());

pub(crate) fn remember(place: &Arc<Place>) {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    places.retain(|place| place.strong_count() > 0);
    places.push(Arc::downgrade(place));
}

/// Closes what is open, and what is just being made once it is. At most for a second.
pub async fn close_connections() {
    let places = PLACES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let closing = places.iter().filter_map(Weak::upgrade).map(async |place| {
        if let Some(connection) = place.lock().await.take() {
            drop(connection.close(200, "done".into()).await);
        }
    });
    drop(tokio::time::timeout(PATIENCE, join_all(closing)).await);
}
