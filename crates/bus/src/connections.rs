//! Every connection of the process: at its end they are closed in order, whichever way it came to that.

use futures_util::future::join_all;
use lapin::Connection;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Mutex;

/// Where a broker keeps its connection; held by whoever makes one.
pub(crate) type ConnectionSlot = Mutex<Option<Arc<Connection>>>;

/// Closing is a courtesy, and whoever waits for it wants to go.
const PATIENCE: Duration = Duration::from_secs(1);

static SLOTS: std::sync::Mutex<Vec<Weak<ConnectionSlot>>> = std::sync::Mutex::new(Vec::new());

pub(crate) fn remember(slot: &Arc<ConnectionSlot>) {
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    slots.retain(|slot| slot.strong_count() > 0);
    slots.push(Arc::downgrade(slot));
}

/// Closes what is open, and what is just being made once it is. At most for a second.
pub async fn close_connections() {
    let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let closing = slots.iter().filter_map(Weak::upgrade).map(async |slot| {
        if let Some(connection) = slot.lock().await.take() {
            drop(connection.close(200, "done".into()).await);
        }
    });
    drop(tokio::time::timeout(PATIENCE, join_all(closing)).await);
}
