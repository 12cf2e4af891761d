//! Messages that may be what ends the process.
//!
//! A panic is caught; an abort, a full stack or memory that has run out is not. Then the broker takes back everything that
//! the process had in hand, the culprit and its innocent neighbours alike, and counts it for all of them. So that count
//! accuses nobody: whoever was taken back often is only settled with care, by itself, one in the process at a time; and
//! that it is being tried is written down before. What is found so too often, with nobody else in hand, is the culprit.
//!
//! A message may hold several items, and one of them be it: then each is put back as a message of its own, and the search
//! begins anew among them.

use super::lane::Stop;
use crate::message::Incoming;
use sha2::{Digest, Sha256};
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// A message that the broker took back so often is settled by itself.
const RETURNS_MAX: u64 = 3;

/// A message is given up on once the process has ended so often while it was tried. More often than it takes to become a
/// suspect: who is one is not blamed for what another does who is none yet.
const TRIES_MAX: i32 = 4;

/// So long a try waits for its count. All suspects of the process wait for one another: while the database is away they
/// must not stand in a queue for it.
const COUNT_PATIENCE: Duration = Duration::from_millis(300);

/// The reading of a message that is accused ended the process so often: it is given up on unread.
const READINGS_MAX: i32 = 2;

/// Held while one is tried.
static ALONE: Mutex<()> = Mutex::const_new(());

#[derive(Debug, Clone)]
pub(super) struct Suspect {
    key: [u8; 32],
    worker: &'static str,
}

pub(super) fn came_back_often(returns: u64) -> bool {
    returns >= RETURNS_MAX
}

/// One try, from before the message is read until all of it is settled: what of it goes well forgives nothing that comes
/// after. It is written down; nobody else in the process is tried meanwhile.
pub(super) struct Tried {
    suspect: Suspect,
    /// Perhaps: the database may have taken it and not said so in time.
    is_counted: bool,
    alone: std::sync::Mutex<Option<MutexGuard<'static, ()>>>,
}

/// What is to be done with a suspect.
pub(super) enum Begun {
    Tried(Tried),
    /// It was tried too often. It may be read, to see whether it holds several items; this is the count of that.
    Accused(Tried),
    /// That it is read is what ends the process.
    Unreadable,
}

pub(super) fn accusation() -> String {
    format!("the process ended {TRIES_MAX} times while it settled this message and no other")
}

impl Suspect {
    pub fn of(worker: &'static str, message: &Incoming) -> Option<Self> {
        if !came_back_often(message.returns) {
            return None;
        }
        let mut hash = Sha256::new();
        for part in [worker.as_bytes(), message.message_id.as_deref().unwrap_or("").as_bytes(), &message.body]
        {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Some(Self { key: hash.finalize().into(), worker })
    }

    /// Waits for its turn and writes the try down; one that was tried too often is accused. While the database is away
    /// it is tried without: a worker that needs the database fails by itself.
    pub async fn begin(self, pool: &db::Pool, stop: &CancellationToken) -> Result<Begun, Stop> {
        let alone = turn(stop).await?;
        let tries = self.count(pool).await;
        if tries.is_none_or(|tries| tries <= TRIES_MAX) {
            return Ok(Begun::Tried(Tried::new(self, tries, alone)));
        }
        // Its count stays, for it is accused also after a replay by the same code; that of its reading is another.
        let reading = self.reading();
        let readings = reading.count(pool).await;
        Ok(match readings.is_some_and(|readings| readings > READINGS_MAX) {
            true => Begun::Unreadable,
            false => Begun::Accused(Tried::new(reading, readings, alone)),
        })
    }

    /// A count beside its own.
    fn reading(&self) -> Self {
        let key = Sha256::new().chain_update(self.key).chain_update(b"reading").finalize();
        Self { key: key.into(), worker: self.worker }
    }

    /// How many tries there were, this one included; none where the database did not say whether it counted this one, and
    /// nothing where it did not.
    async fn count(&self, pool: &db::Pool) -> Option<i32> {
        let deadline = Instant::now() + COUNT_PATIENCE;
        let Ok(Ok(mut connection)) = timeout_at(deadline, pool.acquire()).await else {
            tracing::warn!(worker = self.worker, "a message that came back often is tried uncounted");
            return None;
        };
        let tried = db::suspects::tried(&mut connection, &self.key, self.worker);
        match timeout_at(deadline, tried).await {
            Ok(Ok(tries)) => Some(tries),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(worker = self.worker, "whether a try was counted is not known");
                Some(0)
            }
        }
    }

    async fn forget(&self, pool: &db::Pool) {
        let forgotten = async {
            let mut connection = pool.acquire().await.map_err(db::Error::Away)?;
            db::suspects::survived(&mut connection, &self.key).await
        };
        match timeout_at(Instant::now() + COUNT_PATIENCE, forgotten).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => tracing::warn!(worker = self.worker, "a try is left counted"),
        }
    }
}

/// Nobody else is tried while it is held.
async fn turn(stop: &CancellationToken) -> Result<MutexGuard<'static, ()>, Stop> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Stop),
        alone = ALONE.lock() => Ok(alone),
    }
}

impl Tried {
    fn new(suspect: Suspect, tries: Option<i32>, alone: MutexGuard<'static, ()>) -> Self {
        Self { suspect, is_counted: tries.is_some(), alone: Some(alone).into() }
    }

    /// While a server is away nothing is tried: others may be. The count stays as it is, so that an outage adds nothing.
    pub fn pause(&self) {
        self.hold(None);
    }

    pub async fn resume(&self, stop: &CancellationToken) -> Result<(), Stop> {
        self.hold(Some(turn(stop).await?));
        Ok(())
    }

    fn hold(&self, alone: Option<MutexGuard<'static, ()>>) {
        *self.alone.lock().unwrap_or_else(PoisonError::into_inner) = alone;
    }

    /// The process has survived it.
    pub async fn end(self, pool: &db::Pool) {
        if self.is_counted {
            self.suspect.forget(pool).await;
        }
    }
}
