//! Alerts: what operators are told of dead letters before they ask, in `/metrics` and as events.
//!
//! Any number of processes watch. They look one after another, so that what one finds is not changed by what another found
//! before it; the change of an alert's row decides who tells of it, and the event is committed with that change. So each
//! alert is raised once when it becomes true and cleared once when it no longer is, and both are told at least once.
//!
//! Nobody watches while no dead-letters worker runs: that is what the rules in `deploy/alerts.yml` are for.

mod store;

pub use store::{Raised, kinds, raised, which};

use bus::{Context, queue};
use db::{Doing, Error, PgConnection, Work};
use domain::event::{EventKind, SOURCE_DEAD_LETTERS};
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use store::Change;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// How often a process looks.
pub const EVERY: Duration = Duration::from_secs(10);

/// Over which letters are counted that come in.
const INFLOW_WITHIN: Duration = Duration::from_secs(60);

/// A replay that has ended is looked at for so long.
const JUST_ENDED: Duration = Duration::from_secs(3600);

/// A broker that does not answer within this is away; nothing is known of its queue then.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The unit of what is at stake, beside currencies.
pub const CREDITS: &str = "credits";

/// Its text is a public name, in metrics, events and the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alert {
    /// A kind of failures of which no letter is kept; told of once, as long as one is.
    NewKind,
    /// Many letters come in.
    Inflow,
    /// A letter has waited for long.
    Oldest,
    /// Much money, or many credits, hang on open letters; one for each unit.
    AtStake,
    /// The queue of dead letters is not drained.
    Queue,
    /// What a replay put back died again; one for each replay.
    ReplayFailing,
}

impl Alert {
    pub const ALL: [Alert; 6] =
        [Alert::NewKind, Alert::Inflow, Alert::Oldest, Alert::AtStake, Alert::Queue, Alert::ReplayFailing];

    pub fn as_str(self) -> &'static str {
        match self {
            Alert::NewKind => "dead_letters_new_kind",
            Alert::Inflow => "dead_letters_inflow",
            Alert::Oldest => "dead_letters_oldest",
            Alert::AtStake => "dead_letters_at_stake",
            Alert::Queue => "dead_letters_queue",
            Alert::ReplayFailing => "replay_failing",
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Alert {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Alert::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|alert| alert.as_str() == text)
            .ok_or_else(|| format!("expected one of {known}, got {text:?}"))
    }
}

/// From when on an alert is raised. A new kind of failures always is.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// More letters than this within a minute.
    pub inflow: i64,
    /// A letter that is open for longer.
    pub oldest: Duration,
    /// More than this hangs on open letters, by currency or [`CREDITS`].
    pub at_stake: BTreeMap<String, Decimal>,
    /// At every look for longer than this there were messages in the queue.
    pub queue: Duration,
    /// So many letters of one replay died again.
    pub replay_failing: i64,
}

/// Something that is to be told while it holds.
#[derive(Debug, Clone, PartialEq)]
struct Condition {
    alert: Alert,
    /// Which one, where there can be several.
    about: String,
    details: Value,
}

impl Condition {
    fn new(alert: Alert, details: Value) -> Self {
        Self { alert, about: String::new(), details }
    }
}

/// What one look found.
#[derive(Debug, Default)]
struct Findings {
    holds: Vec<Condition>,
    /// Of these nothing can be said now: they stay as they are.
    unknown: Vec<Alert>,
}

/// Looks, and tells what changed.
pub struct Watcher {
    context: Context,
    thresholds: Thresholds,
    /// Since when the queue was not empty at any look.
    waiting_since: Option<OffsetDateTime>,
}

impl Watcher {
    pub fn new(context: Context, thresholds: Thresholds) -> Self {
        Self { context, thresholds, waiting_since: None }
    }

    /// Looks every [`EVERY`] until the context's token is cancelled.
    pub async fn run(mut self) {
        let stop = self.context.stop.clone();
        loop {
            if let Err(error) = self.look(OffsetDateTime::now_utc()).await {
                tracing::warn!(%error, "cannot look for what to alert of");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// One look. What it found is committed and, where the broker takes it, told.
    pub async fn look(&mut self, now: OffsetDateTime) -> Result<(), Error> {
        let mut work = Work::new(self.context.pool.clone(), now);
        store::take_turns(work.connection().await?).await?;
        let now = work.now;
        let findings = self.find(work.connection().await?, now).await?;
        let changes = store::change(work.connection().await?, &findings, now).await?;
        let events: Vec<_> = changes.iter().map(|change| event(change, now)).collect();
        let row = db::outbox::put(&mut work, &events).await?;
        work.commit().await?;
        changes.iter().for_each(log);
        if let Some(row) = row {
            self.tell(row, &events).await;
        }
        Ok(())
    }

    async fn find(&mut self, connection: &mut PgConnection, now: OffsetDateTime) -> Result<Findings, Error> {
        let mut findings = Findings::default();
        findings.holds.extend(store::new_kinds(connection).await?);
        findings.holds.extend(self.inflow(connection, now).await?);
        findings.holds.extend(self.oldest(connection, now).await?);
        findings.holds.extend(self.at_stake(connection).await?);
        findings.holds.extend(self.replays(connection, now).await?);
        self.queue(&mut findings, now).await;
        Ok(findings)
    }

    async fn inflow(
        &self,
        connection: &mut PgConnection,
        now: OffsetDateTime,
    ) -> Result<Option<Condition>, Error> {
        let letters = store::recorded_since(connection, now - INFLOW_WITHIN).await?;
        let above = self.thresholds.inflow;
        Ok((letters > above).then(|| {
            let within = INFLOW_WITHIN.as_secs();
            let details = json!({ "letters": letters, "within_seconds": within, "above": above });
            Condition::new(Alert::Inflow, details)
        }))
    }

    async fn oldest(
        &self,
        connection: &mut PgConnection,
        now: OffsetDateTime,
    ) -> Result<Option<Condition>, Error> {
        let longer = self.thresholds.oldest;
        let oldest = store::oldest(connection).await?.filter(|failed_at| *failed_at < now - longer);
        Ok(oldest.map(|failed_at| {
            let details =
                json!({ "first_failed_at": time_text(failed_at), "longer_than_seconds": longer.as_secs() });
            Condition::new(Alert::Oldest, details)
        }))
    }

    async fn at_stake(&self, connection: &mut PgConnection) -> Result<Vec<Condition>, Error> {
        if self.thresholds.at_stake.is_empty() {
            return Ok(Vec::new());
        }
        let sums = crate::read::at_stake(connection).await?;
        let above = |(unit, sum): (String, Decimal)| {
            let above = *self.thresholds.at_stake.get(&unit)?;
            let details = json!({ "unit": unit, "at_stake": amount(sum), "above": amount(above) });
            (sum > above).then_some(Condition { alert: Alert::AtStake, about: unit, details })
        };
        Ok(sums.into_iter().filter_map(above).collect())
    }

    async fn replays(
        &self,
        connection: &mut PgConnection,
        now: OffsetDateTime,
    ) -> Result<Vec<Condition>, Error> {
        store::replays_failing(connection, self.thresholds.replay_failing, now - JUST_ENDED).await
    }

    /// A queue in which messages wait at every look is not drained, whoever should.
    async fn queue(&mut self, findings: &mut Findings, now: OffsetDateTime) {
        let name = self.context.namespace.name(queue::DEAD_LETTERS);
        let asked = tokio::time::timeout(PROBE_TIMEOUT, self.context.consume.depth(&name)).await;
        let longer = self.thresholds.queue;
        match asked {
            Ok(Ok(depth)) if depth.ready == 0 => self.waiting_since = None,
            Ok(Ok(depth)) => {
                let since = *self.waiting_since.get_or_insert(now);
                if now - since > longer {
                    let details = json!({ "queue": name, "messages": depth.ready, "consumers": depth.consumers,
                                          "longer_than_seconds": longer.as_secs() });
                    findings.holds.push(Condition::new(Alert::Queue, details));
                } else {
                    findings.unknown.push(Alert::Queue);
                }
            }
            Ok(Err(_)) | Err(_) => findings.unknown.push(Alert::Queue),
        }
    }

    /// What cannot be told now stays in the outbox, for the sweeper.
    async fn tell(&self, row: Uuid, events: &[db::outbox::StoredEvent]) {
        let messages = events.iter().map(|event| bus::outbox::message(&self.context.namespace, event));
        if let Err(error) = self.context.publisher.publish_all(messages.collect()).await {
            tracing::warn!(%error, "alerts are told later");
            return;
        }
        let settled = async {
            let mut connection = self.context.pool.acquire().await.doing("taking a connection")?;
            db::outbox::settled(&mut connection, row).await
        };
        if let Err(error) = settled.await {
            tracing::warn!(%error, "alerts may be told again");
        }
    }
}

fn event(change: &Change, now: OffsetDateTime) -> db::outbox::StoredEvent {
    let kind = if change.is_raised { EventKind::AlertRaised } else { EventKind::AlertCleared };
    let mut data = Map::new();
    data.insert("alert".to_owned(), change.alert.as_str().into());
    data.insert("raised_at".to_owned(), time_text(change.raised_at).into());
    if let Value::Object(details) = &change.details {
        data.extend(details.clone());
    }
    let data = serde_json::value::to_raw_value(&data).expect("it holds texts and numbers");
    db::outbox::StoredEvent {
        id: Uuid::now_v7(),
        source: SOURCE_DEAD_LETTERS.to_owned(),
        account: None,
        sequence: None,
        kind: kind.as_str().to_owned(),
        time: now,
        cause: format!("{SOURCE_DEAD_LETTERS}/{}", change.alert),
        traceparent: None,
        data: Json(data),
        hash: db::chain::GENESIS,
    }
    .alone()
}

fn log(change: &Change) {
    let (alert, about) = (change.alert.as_str(), change.about.as_str());
    match change.is_raised {
        true => tracing::error!(alert, about, "alert raised"),
        false => tracing::info!(alert, about, "alert cleared"),
    }
}

fn amount(decimal: Decimal) -> String {
    decimal.normalize().to_string()
}

fn time_text(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).expect("a time of Postgres can be written")
}
