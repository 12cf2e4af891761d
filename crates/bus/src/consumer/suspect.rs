//! Messages that may be what ends the process.
//!
//! A panic is caught; an abort, a full stack or memory that has run out is not. Then the broker takes back everything that
//! the process had in hand, the culprit and its innocent neighbours alike, and counts it for all of them. So that count
//! accuses nobody: whoever was taken back often is only settled with care, by itself, one in the process at a time; and
//! that it is being tried is written down before. What is found so too often, with nobody else in hand, is the culprit.

use crate::message::Incoming;
use sha2::{Digest, Sha256};
use std::sync::PoisonError;
use tokio::sync::{Mutex, MutexGuard};

/// A message that the broker took back so often is settled by itself.
const RETURNS_MAX: u64 = 3;

/// A message is given up on once the process has ended so often while it was tried. More often than it takes to become a
/// suspect: who is one is not blamed for what another does who is none yet.
const TRIES_MAX: i32 = 4;

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
    alone: std::sync::Mutex<Option<MutexGuard<'static, ()>>>,
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

    /// Waits for its turn and writes the try down; an error says that it was tried too often. While the database is away
    /// it is tried without: a worker that needs the database fails by itself.
    pub async fn begin(self, pool: &db::Pool) -> Result<Tried, String> {
        let alone = ALONE.lock().await;
        let (key, worker) = (self.key, self.worker);
        let tried = Tried { suspect: self, alone: Some(alone).into() };
        match db::suspects::tried(pool, &key, worker).await {
            // The count stays: it is the culprit also in parts, and after a replay by the same code.
            Ok(tries) if tries > TRIES_MAX => {
                Err(format!("the process ended {TRIES_MAX} times while it settled this message and no other"))
            }
            Ok(_) => Ok(tried),
            Err(error) => {
                tracing::warn!(worker, %error, "a message that came back often is tried uncounted");
                Ok(tried)
            }
        }
    }
}

impl Tried {
    /// While a server is away nothing is tried: others may be. The count stays as it is, so that an outage adds nothing.
    pub fn pause(&self) {
        self.hold(None);
    }

    pub async fn resume(&self) {
        self.hold(Some(ALONE.lock().await));
    }

    fn hold(&self, alone: Option<MutexGuard<'static, ()>>) {
        *self.alone.lock().unwrap_or_else(PoisonError::into_inner) = alone;
    }

    /// The process has survived it.
    pub async fn end(self, pool: &db::Pool) {
        if let Err(error) = db::suspects::survived(pool, &self.suspect.key).await {
            tracing::warn!(worker = self.suspect.worker, %error, "a try is left counted");
        }
    }
}
