//! Connections that must not be used again: those from before the database moved, or on which statements fail that only a
//! new connection carries out.

use crate::sqlstate::{Means, means};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When the connections of this process were last given up. It has one database: what is true of one pool's connections is
/// of all.
static RENEWED: Mutex<Option<Instant>> = Mutex::new(None);

/// Whatever is connected now is closed at its next use or return.
pub(crate) fn renew() {
    *RENEWED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// Whether a connection of this age may still be used.
pub(crate) fn is_current(age: Duration) -> bool {
    let renewed = *RENEWED.lock().unwrap_or_else(PoisonError::into_inner);
    renewed.is_none_or(|at| age <= at.elapsed())
}

/// Looks at an error of the database: where all connections would meet it again, gives them up and logs why.
pub(crate) fn notice(error: &sqlx::Error, doing: &'static str) {
    let sqlx::Error::Database(error) = error else { return };
    let Some(code) = error.code() else { return };
    if let Some(Means::WaitsOnNewConnections(look)) = means(&code) {
        renew();
        tracing::error!(sqlstate = &*code, %error, doing, look, "the database refuses what it had agreed to; connections are made anew");
        metrics::counter!("bursar_database_refusals_total").increment(1);
    }
}
