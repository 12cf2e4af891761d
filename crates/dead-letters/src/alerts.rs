//! What the dead-letters worker watches for: it raises alerts, so that operators know of dead letters before they ask.
//!
//! Nobody watches while no dead-letters worker runs: the rules in `deploy/alerts.yml` are for that.

mod store;

pub use store::kinds;

use bus::{Broker, Namespace, queue};
use db::{Error, PgConnection};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jobs::watch::{Condition, Findings, Watch, time_text};
use rust_decimal::Decimal;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;

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
    /// A kind of failures of which no letter was stored before; raised once, as long as one is stored.
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
    /// The names of all.
    pub const NAMES: [&str; 6] = [
        Alert::NewKind.as_str(),
        Alert::Inflow.as_str(),
        Alert::Oldest.as_str(),
        Alert::AtStake.as_str(),
        Alert::Queue.as_str(),
        Alert::ReplayFailing.as_str(),
    ];

    pub const fn as_str(self) -> &'static str {
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

/// A condition under one of our names.
fn condition(alert: Alert, about: impl Into<String>, details: serde_json::Value) -> Condition {
    Condition { alert: alert.as_str(), about: about.into(), details }
}

/// Looks at dead letters, replays and the queue of letters.
pub struct LetterWatch {
    thresholds: Thresholds,
    namespace: Namespace,
    consume: Broker,
    /// Since when the queue was not empty at any look.
    waiting_since: Option<OffsetDateTime>,
}

impl Watch for LetterWatch {
    fn alerts(&self) -> &'static [&'static str] {
        &Alert::NAMES
    }

    fn look<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Findings, Error>> {
        self.find(connection, now).boxed()
    }
}

impl LetterWatch {
    pub fn new(thresholds: Thresholds, namespace: Namespace, consume: Broker) -> Self {
        Self { thresholds, namespace, consume, waiting_since: None }
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
            condition(Alert::Inflow, "", details)
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
            condition(Alert::Oldest, "", details)
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
            (sum > above).then_some(condition(Alert::AtStake, unit, details))
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

    /// Raises an alert where messages wait in the queue at every look for long: no worker drains it.
    async fn queue(&mut self, findings: &mut Findings, now: OffsetDateTime) {
        let name = self.namespace.name(queue::DEAD_LETTERS);
        let asked = tokio::time::timeout(PROBE_TIMEOUT, self.consume.depth(&name)).await;
        let longer = self.thresholds.queue;
        match asked {
            Ok(Ok(depth)) if depth.ready == 0 => self.waiting_since = None,
            Ok(Ok(depth)) => {
                let since = *self.waiting_since.get_or_insert(now);
                if now - since > longer {
                    let details = json!({ "queue": name, "messages": depth.ready, "consumers": depth.consumers,
                                          "longer_than_seconds": longer.as_secs() });
                    findings.holds.push(condition(Alert::Queue, "", details));
                } else {
                    findings.unknown.push(Alert::Queue.as_str());
                }
            }
            Ok(Err(_)) | Err(_) => findings.unknown.push(Alert::Queue.as_str()),
        }
    }
}

fn amount(decimal: Decimal) -> String {
    decimal.normalize().to_string()
}
