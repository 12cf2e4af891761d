//! Why a batch, or a part of one, was not settled.

use super::context::LaneContext;
use super::worker::Worker;
use crate::fate::{Fate, Fated, code, panic_text};
use crate::publisher::PublishError;
use std::any::Any;
use std::time::Duration;

/// A database that does not carry out the simplest change within this is away.
const DATABASE_PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct BatchFailure {
    pub fate: Fate,
    /// Machine-readable: the code of the dead letter that may come of it.
    pub code: &'static str,
    pub why: String,
}

impl BatchFailure {
    /// An error of the worker or of the database, by the fate that it states.
    pub async fn of<W: Worker>(lane: &LaneContext<W>, error: &impl Fated) -> Self {
        let why = with_causes(error);
        match error.fate() {
            Fate::Poison(code) => Self::poison(code, why),
            Fate::Hung => Self::hung(lane, why).await,
            fate @ (Fate::Transient | Fate::Unknown) => Self { fate, code: code::UNKNOWN, why },
        }
    }

    /// A batch that took too long. Where the database does not answer either, the database is at fault and no message.
    pub async fn hung<W: Worker>(lane: &LaneContext<W>, why: String) -> Self {
        match db::answers(&lane.context.pool, DATABASE_PATIENCE).await {
            true => Self { fate: Fate::Unknown, code: code::TIME_LIMIT, why },
            false => {
                let why = format!("{why}, and the database does not answer");
                Self { fate: Fate::Transient, code: code::UNKNOWN, why }
            }
        }
    }

    /// The worker panicked, which is counted.
    pub fn panic<W: Worker>(panic: &(dyn Any + Send)) -> Self {
        metrics::counter!("bursar_panics_total", "worker" => W::NAME).increment(1);
        let why = format!("it panicked: {}", panic_text(panic));
        Self { fate: Fate::Unknown, code: code::PANIC, why }
    }

    /// A message that RabbitMQ does not take now it may take later; also an unroutable one, once an operator has mended the
    /// topology.
    pub fn publishing(error: &PublishError) -> Self {
        Self { fate: Fate::Transient, code: code::UNKNOWN, why: error.to_string() }
    }

    /// Its worker gave it up.
    pub fn poison(code: &'static str, why: String) -> Self {
        Self { fate: Fate::Poison(code), code, why }
    }

    /// Nobody foresaw why.
    pub fn unknown(why: String) -> Self {
        Self { fate: Fate::Unknown, code: code::UNKNOWN, why }
    }

    /// Whether the same work may succeed a little later, so that no message is at fault.
    pub fn is_transient(&self) -> bool {
        match self.fate {
            Fate::Transient => true,
            Fate::Poison(_) | Fate::Hung | Fate::Unknown => false,
        }
    }
}

/// An error's text with those of its causes, each once.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
