//! Messages that may be what ends the process.
//!
//! A panic is caught; an abort, a full stack or memory that has run out is not. Then the broker takes back everything that
//! the process had in hand, the culprit and its innocent neighbours alike, and counts it for all of them. So that count
//! accuses nobody: whoever was taken back often is only settled with care, by itself, one in the process at a time; and
//! that it is being tried is written down before. What is found so too often, with nobody else in hand, is the culprit.
//!
//! A message may hold several items, and one of them be it: then each is put back as a message of its own, and the search
//! begins anew among them.

use super::stop::Stop;
use crate::incoming::Incoming;
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

/// Whether a message that the broker took back so often is a suspect.
pub(super) fn came_back_often(returns: u64) -> bool {
    returns >= RETURNS_MAX
}

/// One try, from before the message is read until all of it is settled: what of it goes well forgives nothing that comes
/// after. It is written down; nobody else in the process is tried meanwhile.
pub(super) struct Tried {
    suspect: Suspect,
    counted: Mutex<TryCount>,
    alone: std::sync::Mutex<Option<MutexGuard<'static, ()>>>,
}

/// Whether a try is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TryCount {
    No,
    Yes(i32),
    /// The database may have taken it and not said so in time.
    Perhaps,
}

/// What is to be done with a suspect.
pub(super) enum Begun {
    Tried(Tried),
    /// It was tried too often. It may still be read, to see whether it holds several items; this counts the readings.
    Accused(Tried),
    /// Reading it ends the process.
    Unreadable,
}

pub(super) fn accusation() -> String {
    format!("the process ended {TRIES_MAX} times while it settled this message and no other")
}

impl TryCount {
    fn exceeds(self, tries_max: i32) -> bool {
        matches!(self, TryCount::Yes(tries) if tries > tries_max)
    }
}

impl Suspect {
    /// Nothing where the message came back seldom.
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
        let counted = self.count(pool).await;
        if !counted.exceeds(TRIES_MAX) {
            return Ok(Begun::Tried(Tried::new(self, counted, alone)));
        }
        // Its count stays, for it is accused also after a replay by the same code; that of its reading is another.
        let reading = self.reading();
        let counted = reading.count(pool).await;
        Ok(match counted.exceeds(READINGS_MAX) {
            true => Begun::Unreadable,
            false => Begun::Accused(Tried::new(reading, counted, alone)),
        })
    }

    /// A count beside its own.
    fn reading(&self) -> Self {
        let key = Sha256::new().chain_update(self.key).chain_update(b"reading").finalize();
        Self { key: key.into(), worker: self.worker }
    }

    /// Writes a try down.
    async fn count(&self, pool: &db::Pool) -> TryCount {
        let deadline = Instant::now() + COUNT_PATIENCE;
        let Ok(Ok(mut connection)) = timeout_at(deadline, pool.acquire()).await else {
            tracing::warn!(
                worker = self.worker,
                "Postgres does not answer: a message that came back often is tried without being counted"
            );
            return TryCount::No;
        };
        let tried = db::suspects::tried(&mut connection, &self.key, self.worker);
        match timeout_at(deadline, tried).await {
            Ok(Ok(tries)) => TryCount::Yes(tries),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(worker = self.worker, "Postgres did not say whether it counted a try");
                TryCount::Perhaps
            }
        }
    }

    /// Takes a try back, where the database answers.
    async fn take_back(&self, pool: &db::Pool) -> bool {
        let taken_back = async {
            let mut connection = pool.acquire().await.map_err(db::Error::Away)?;
            db::suspects::taken_back(&mut connection, &self.key).await
        };
        matches!(timeout_at(Instant::now() + COUNT_PATIENCE, taken_back).await, Ok(Ok(())))
    }

    async fn forget(&self, pool: &db::Pool) {
        let forgotten = async {
            let mut connection = pool.acquire().await.map_err(db::Error::Away)?;
            db::suspects::survived(&mut connection, &self.key).await
        };
        match timeout_at(Instant::now() + COUNT_PATIENCE, forgotten).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => tracing::warn!(
                worker = self.worker,
                "Postgres did not say whether it deleted the count of a try"
            ),
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
    fn new(suspect: Suspect, counted: TryCount, alone: MutexGuard<'static, ()>) -> Self {
        Self { suspect, counted: counted.into(), alone: Some(alone).into() }
    }

    /// Waits may be long, and the process may be ended meanwhile for any reason. So during a wait this message is not tried, others
    /// may be, and what was counted is taken back. Where the database does not answer the count stays, and is not added to later.
    pub async fn pause(&self, pool: &db::Pool) {
        self.hold(None);
        let mut counted = self.counted.lock().await;
        if matches!(*counted, TryCount::Yes(_)) && self.suspect.take_back(pool).await {
            *counted = TryCount::No;
        }
    }

    /// Waits for its turn again, and counts the try again.
    pub async fn resume(&self, pool: &db::Pool, stop: &CancellationToken) -> Result<(), Stop> {
        self.hold(Some(turn(stop).await?));
        let mut counted = self.counted.lock().await;
        if *counted == TryCount::No {
            *counted = self.suspect.count(pool).await;
        }
        Ok(())
    }

    fn hold(&self, alone: Option<MutexGuard<'static, ()>>) {
        *self.alone.lock().unwrap_or_else(PoisonError::into_inner) = alone;
    }

    /// The process has survived it.
    pub async fn end(self, pool: &db::Pool) {
        if self.counted.into_inner() != TryCount::No {
            self.suspect.forget(pool).await;
        }
    }
}
