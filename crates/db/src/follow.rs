//! Follows the database to another host.
//!
//! A pool connects to one host at a time. So beside a pool of several hosts a task looks all the time whether its host can still
//! be written, and turns the pool to another where it cannot.

use crate::error::Error;
use crate::hosts::{HOST_PATIENCE, Hosts, place, reasons};
use crate::pool::Pool;
use crate::renewal;
use crate::writable::takes_changes;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use std::sync::Arc;
use std::time::Duration;

/// How often a pool of several hosts is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Between two searches while no host can be written.
const SEARCH_AGAIN: Duration = Duration::from_millis(200);

/// Turns a pool to whichever host can be written, until it is closed.
pub(crate) async fn follow(pool: Pool, hosts: Hosts) {
    let mut closed = pool.close_event();
    drop(closed.do_until(follow_always(&pool, &hosts)).await);
}

async fn follow_always(pool: &Pool, hosts: &Hosts) {
    // These connections only look, under a name of their own.
    let watched = hosts.named("bursar watch");
    let mut current = 0;
    let mut watch = None;
    loop {
        if !still_writes(&mut watch).await {
            watch = None;
            match watched.search(current).await {
                Ok((found, connection)) => {
                    if found != current {
                        turn(pool, &hosts.all()[found]);
                    }
                    (current, watch) = (found, Some(connection));
                }
                Err(refusals) => {
                    tracing::warn!(hosts = reasons(&refusals), "no host of the database can be written");
                    tokio::time::sleep(SEARCH_AGAIN).await;
                    continue;
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn still_writes(watch: &mut Option<PgConnection>) -> bool {
    let Some(connection) = watch else { return false };
    matches!(tokio::time::timeout(HOST_PATIENCE, takes_changes(connection)).await, Ok(Ok(true)))
}

fn turn(pool: &Pool, host: &PgConnectOptions) {
    tracing::warn!(host = place(host), "the database is written at another host from now on");
    metrics::counter!("bursar_database_moves_total").increment(1);
    pool.set_connect_options(host.clone());
    renewal::renew();
}

/// How often work that is under way looks whether the database moved.
const MOVED_EVERY: Duration = Duration::from_millis(250);

/// Carries something out unless the pool turns to another host meanwhile: the host before may never answer.
///
/// # Errors
/// [`Error::Nowhere`] where the pool turned.
pub async fn unless_moved<F: Future>(pool: &Pool, work: F) -> Result<F::Output, Error> {
    let before = pool.connect_options();
    let moved = async {
        let mut look = tokio::time::interval(MOVED_EVERY);
        while Arc::ptr_eq(&before, &pool.connect_options()) {
            look.tick().await;
        }
    };
    tokio::select! {
        biased;
        output = work => Ok(output),
        () = moved => Err(Error::Nowhere("the database moved to another host meanwhile".to_owned())),
    }
}
