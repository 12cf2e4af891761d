//! Alerts: conditions that operators learn of from `/metrics` and from events.
//!
//! A worker watches for conditions of its own, under names of its own. Any number of processes watch. They look one after
//! another, so that what one finds is not changed by what another found before it; the change of an alert's row decides who
//! emits the event, and the event is committed with that change. So each alert is raised once when it becomes true and
//! cleared once when it no longer is, and both are published at least once.

mod store;

pub use store::{Raised, raised, which};

use bus::Context;
use db::outbox::StoredEvent;
use db::{Doing, Error, PgConnection, Work};
use domain::event::EventKind;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use sqlx::types::Json;
use store::Change;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// A condition that operators must know of while it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// A public name, in metrics, events and the configuration.
    pub alert: &'static str,
    /// Which one, if there can be several; else empty.
    pub about: String,
    /// What the event says of it. No names of people, no texts of strangers.
    pub details: Value,
}

/// What one look found.
#[derive(Debug, Default)]
pub struct Findings {
    pub holds: Vec<Condition>,
    /// Of these nothing can be said now: they stay as they are.
    pub unknown: Vec<&'static str>,
}

/// What a worker watches for.
pub trait Watch: Send + Sync {
    /// Every alert that it may raise.
    fn alerts(&self) -> &'static [&'static str];

    /// Looks. What does not hold any more, and is not unknown, is cleared.
    ///
    /// # Errors
    /// Those of the database: the look is made again.
    fn look<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Findings, Error>>;
}

/// Looks for a worker, and emits what changed.
pub struct AlertWatcher<W> {
    context: Context,
    /// The source of the events: `bursar/<worker>`.
    source: String,
    watch: W,
}

impl<W: Watch> AlertWatcher<W> {
    /// The context's pool must be one whose statements may read whole tables.
    pub fn new(context: Context, worker: &str, watch: W) -> Self {
        Self { context, source: format!("bursar/{worker}"), watch }
    }

    /// One look. What changed is committed and, where the broker takes it, published.
    ///
    /// # Errors
    /// Those of the database: nothing was changed.
    pub async fn look(&mut self, now: OffsetDateTime) -> Result<(), Error> {
        let mut work = Work::new(self.context.pool.clone(), now);
        store::take_turns(work.connection().await?).await?;
        let now = work.now;
        let findings = self.watch.look(work.connection().await?, now).await?;
        let changes = store::change(work.connection().await?, self.watch.alerts(), &findings, now).await?;
        let events: Vec<StoredEvent> = changes.iter().map(|change| self.event(change, now)).collect();
        let row = db::outbox::put(&mut work, &events).await?;
        work.commit().await?;
        changes.iter().for_each(log);
        if let Some(row) = row {
            self.publish(row, &events).await;
        }
        Ok(())
    }

    /// What cannot be published now stays in the outbox, for the sweeper.
    async fn publish(&self, row: Uuid, events: &[StoredEvent]) {
        let messages = events.iter().map(|event| bus::outbox::message(&self.context.namespace, event));
        if let Err(error) = self.context.publisher.publish_all(messages.collect()).await {
            tracing::warn!(%error, "alerts are published later");
            return;
        }
        let settled = async {
            let mut connection = self.context.pool.acquire().await.doing("taking a connection")?;
            db::outbox::settled(&mut connection, row).await
        };
        if let Err(error) = settled.await {
            tracing::warn!(%error, "alerts may be published again");
        }
    }

    fn event(&self, change: &Change, now: OffsetDateTime) -> StoredEvent {
        let kind = if change.is_raised { EventKind::AlertRaised } else { EventKind::AlertCleared };
        let mut data = Map::new();
        data.insert("alert".to_owned(), change.alert.as_str().into());
        data.insert("raised_at".to_owned(), time_text(change.raised_at).into());
        if let Value::Object(details) = &change.details {
            data.extend(details.clone());
        }
        let data = serde_json::value::to_raw_value(&data).expect("it holds texts and numbers");
        StoredEvent {
            id: Uuid::now_v7(),
            source: self.source.clone(),
            account: None,
            sequence: None,
            kind: kind.as_str().to_owned(),
            time: now,
            cause: format!("{}/{}", self.source, change.alert),
            traceparent: None,
            data: Json(data),
            hash: db::chain::GENESIS,
        }
        .alone()
    }
}

fn log(change: &Change) {
    let (alert, about) = (change.alert.as_str(), change.about.as_str());
    match change.is_raised {
        true => tracing::error!(alert, about, "alert raised"),
        false => tracing::info!(alert, about, "alert cleared"),
    }
}

/// A time as events say it.
pub fn time_text(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).expect("a time of Postgres can be written")
}
