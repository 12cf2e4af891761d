//! A plan: what messages would change if they were replayed now.
//!
//! The fleet's own workers read, decide and write them, one message after the other, in one transaction that is rolled back
//! in the end: later messages see what earlier ones did, as in a replay. What a worker would hand on goes to the workers that
//! read it by the topology, within the same transaction; what it would publish is what the plan shows. Nothing is written,
//! nothing is published, no message is taken from a queue. (Numbers that Postgres gives out, the positions of facts among
//! them, are not taken back; their gaps mean nothing.)
//!
//! A plan runs beside a live fleet and gives way to it: where another transaction holds a row, the plan is rolled back and
//! begins again a little later. What it holds itself the fleet waits for, so it is short: see [`MESSAGES_MAX`] and
//! [`TIME_LIMIT`].

mod sums;
#[cfg(test)]
mod tests;
mod text;

pub use sums::Sums;

use crate::session::Session;
use crate::workers;
use anyhow::{Result, anyhow, bail};
use bus::{Delays, Incoming, Message, Namespace, Topology, queue};
use db::Work;
use dead_letters::read::GivenUp;
use domain::{Cause, Envelope, Meaning, Outcome, envelope};
use facts::Readers;
use facts::outcomes::{self, ReaderStanding};
use gate::Gate;
use jobs::{BalanceChange, Consumer, Floor, TakenItem, TransactionView, Trouble};
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

/// Messages of one plan, unless the caller says otherwise: some 5 ms of the accounts' locks for each.
pub const MESSAGES_MAX: usize = 500;

/// A plan that has held its locks for this long ends. The fleet's statements wait for 15 s before they are tried again.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// How often a plan begins again because it met somebody else, or a server was away for a moment.
const ATTEMPTS_MAX: u32 = 5;

/// What is said of a part that is no fact.
const NAMELESS: &str = "not a fact";

/// Facts lead from the ingester to the gate to their readers. What leads further than this leads in a circle.
const STATIONS_MAX: usize = 16;

/// A message as it would be replayed.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// What people call it: a dead letter's id, a fact's cause.
    pub label: String,
    /// The queue that it would come to, without the namespace.
    pub queue: String,
    pub message: Incoming,
}

impl Replayed {
    /// A fact as the front door would hand it to the gate. `exchange`: that of verified facts.
    pub fn of_fact(label: String, exchange: &str, envelope: &Envelope) -> Self {
        let message = Incoming {
            exchange: exchange.to_owned(),
            routing_key: envelope.fact.kind().as_str().to_owned(),
            message_id: Some(envelope.cause.id.clone()),
            content_type: Some(envelope::CONTENT_TYPE.to_owned()),
            body: envelope.to_json().into_bytes(),
            ..Incoming::default()
        };
        Self { label, queue: queue::GATE.to_owned(), message }
    }
}

/// What would become of a message or a fact. The greatest of its facts' is a message's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It says nothing new.
    AlreadyApplied,
    /// It would go through, and change what is shown beside it.
    WouldApply,
    /// It says nothing new, and what it says was never applied: a later worker gave up on the fact, or has not read it yet.
    KnownNotApplied,
    /// A worker would give up on it again.
    WouldFail,
}

impl Verdict {
    pub const ALL: [Verdict; 4] =
        [Verdict::AlreadyApplied, Verdict::WouldApply, Verdict::KnownNotApplied, Verdict::WouldFail];

    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::AlreadyApplied => "already_applied",
            Verdict::WouldApply => "would_apply",
            Verdict::KnownNotApplied => "known_not_applied",
            Verdict::WouldFail => "would_fail",
        }
    }
}

/// Who would give up, under which code of a dead letter, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub worker: &'static str,
    pub code: &'static str,
    pub reason: String,
}

/// What has become of a fact that was admitted and not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Pending {
    /// Its own letter is what an operator must look at.
    GivenUp { letter: Uuid, worker: String, code: String, reason: String },
    /// An earlier message of this plan says the same, and would fail.
    WouldFail(Failure),
    /// It lies in a queue, or has just been taken from one.
    InFlight,
}

/// What a worker would make of a fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub worker: &'static str,
    pub outcome: Outcome,
}

/// An event that would be published.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    pub data: Value,
}

/// A message that would be published and that no worker of the fleet reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Publication {
    pub exchange: String,
    pub routing_key: String,
}

/// What would become of one fact of a message, by everybody who reads it; or of what cannot be read as a fact.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    #[serde(skip)]
    cause: Option<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fact: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    pub verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Where it is known and was not applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// In the order in which workers would read it.
    pub outcomes: Vec<Step>,
    pub transactions: Vec<TransactionView>,
    pub balances: Vec<BalanceChange>,
    pub events: Vec<Event>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publications: Vec<Publication>,
    /// What would follow from it, in words: calls to the outside, which a plan does not make.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub foreseen: Vec<String>,
}

/// What would become of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedMessage {
    pub label: String,
    pub queue: String,
    pub verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    pub parts: Vec<Part>,
}

/// What would become of all of them, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The moment that everything was decided for.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Workers are at work that decide by another configuration, or are of another version: they may do otherwise.
    pub fleet_differs: bool,
    pub messages: Vec<PlannedMessage>,
    pub sums: Sums,
}

/// Finds out what the fleet would make of these messages, the oldest first, as it is configured here.
pub async fn plan(session: &Session, messages: &[Replayed]) -> Result<Plan> {
    let floor = session.idle_floor("plan")?;
    let make = || consumers(session, &floor);
    let plan = Planner::new(session.worker_pool()?, session.topology()?, session.namespace()?);
    let plan = plan.plan(make, messages).await?;
    Ok(Plan { fleet_differs: session.fleet_differs().await?, ..plan })
}

/// Plans with whatever readers it is given.
pub struct Planner {
    pub pool: db::Pool,
    /// Says who reads on.
    pub topology: Topology,
    pub namespace: Namespace,
    pub messages_max: usize,
    pub time_limit: Duration,
}

/// The fleet's consumers as a plan asks them. Whoever keeps what others give up on is not asked: a plan's failures are not
/// recorded.
fn consumers(session: &Session, floor: &Floor) -> Result<Vec<Arc<dyn Consumer>>> {
    let mut consumers = Vec::new();
    for worker in workers::ALL {
        let member = worker.member(&session.config, floor)?;
        consumers
            .extend(member.consumers.into_iter().filter(|consumer| workers::is_decided(consumer.queue())));
    }
    Ok(consumers)
}

impl Planner {
    pub fn new(pool: db::Pool, topology: Topology, namespace: Namespace) -> Self {
        Self { pool, topology, namespace, messages_max: MESSAGES_MAX, time_limit: TIME_LIMIT }
    }

    /// `make` gives the readers of one attempt: some remember what they did, and an attempt that is rolled back did nothing.
    pub async fn plan(
        &self,
        make: impl Fn() -> Result<Vec<Arc<dyn Consumer>>>,
        messages: &[Replayed],
    ) -> Result<Plan> {
        if messages.len() > self.messages_max {
            bail!(
                "expected at most {} messages in a plan, for the fleet waits while it runs; got {}: plan a part of them",
                self.messages_max,
                messages.len()
            );
        }
        let mut delays = Delays::new(Duration::from_millis(100), Duration::from_secs(2));
        let mut attempt = 1;
        loop {
            match self.attempt(&make()?, messages).await {
                Ok(plan) => return Ok(plan),
                Err(Trouble::Lasting(error)) => return Err(anyhow::Error::from_boxed(error)),
                Err(Trouble::Passing(why)) if attempt == ATTEMPTS_MAX => return Err(gave_way(&why)),
                Err(Trouble::Passing(_)) => tokio::time::sleep(delays.next_delay()).await,
            }
            attempt += 1;
        }
    }

    /// One transaction, rolled back whatever came of it.
    async fn attempt(&self, readers: &[Arc<dyn Consumer>], messages: &[Replayed]) -> Result<Plan, Trouble> {
        let mut work = Work::giving_way(self.pool.clone(), OffsetDateTime::now_utc());
        let at = work.now;
        let deadline = Instant::now() + self.time_limit;
        let dry_run = DryRun { planner: self, topology: &self.topology, readers, deadline };
        let planned = dry_run.play(&mut work, messages).await;
        work.abandon().await;
        let messages = planned?;
        Ok(Plan { at, fleet_differs: false, sums: Sums::of(&messages), messages })
    }
}

fn lasting(error: anyhow::Error) -> Trouble {
    Trouble::Lasting(error.into())
}

fn gave_way(why: &str) -> anyhow::Error {
    anyhow!(
        "expected to plan beside the fleet without holding it up, and gave way {ATTEMPTS_MAX} times, the last time to this: \
         {why}. Nothing was changed. Somebody works on the same rows, or a server is away: try again in a moment, or plan \
         fewer messages at a time"
    )
}

/// A dry run: the fleet in one transaction that is rolled back.
struct DryRun<'a> {
    planner: &'a Planner,
    topology: &'a Topology,
    readers: &'a [Arc<dyn Consumer>],
    deadline: Instant,
}

/// A message on its way to a reader.
struct Delivery<'a> {
    reader: &'a dyn Consumer,
    message: Incoming,
    /// What became of it before it could be read as facts.
    before: Vec<Step>,
    stations: usize,
}

impl<'a> DryRun<'a> {
    async fn play(&self, work: &mut Work, messages: &[Replayed]) -> Result<Vec<PlannedMessage>, Trouble> {
        let mut planned = Vec::with_capacity(messages.len());
        for message in messages {
            let parts = self.follow(work, message).await?;
            planned.push(self.look_after(work, parts, &planned).await?.into_message(message));
        }
        Ok(planned)
    }

    /// Finds out how facts stand that the gate would stop: that it knows them does not say that they were applied.
    async fn look_after(
        &self,
        work: &mut Work,
        mut parts: Parts,
        earlier: &[PlannedMessage],
    ) -> Result<Parts, Trouble> {
        let readers = Readers::of(self.topology, &self.planner.namespace);
        for part in parts.0.iter_mut().filter(|part| part.is_stopped_at_the_gate()) {
            part.pending = part.pending(work, &readers, earlier).await?;
            if part.pending.is_some() {
                part.verdict = Verdict::KnownNotApplied;
            }
        }
        Ok(parts)
    }

    fn check_time(&self) -> Result<(), Trouble> {
        if Instant::now() < self.deadline {
            return Ok(());
        }
        Err(lasting(anyhow!(
            "expected a plan to take at most {} s, for the fleet waits while it runs, and this one takes longer: plan fewer \
             messages at a time",
            self.planner.time_limit.as_secs()
        )))
    }

    /// Follows a message, and what it leads to, until nobody reads on.
    async fn follow(&self, work: &mut Work, replayed: &Replayed) -> Result<Parts, Trouble> {
        let first = Delivery {
            reader: self.reader(&replayed.queue)?,
            message: replayed.message.clone(),
            before: Vec::new(),
            stations: 1,
        };
        let mut parts = Parts::default();
        let mut deliveries = VecDeque::from([first]);
        while let Some(delivery) = deliveries.pop_front() {
            self.check_time()?;
            if delivery.stations > STATIONS_MAX {
                return Err(lasting(anyhow!(
                    "{}: led through more than {STATIONS_MAX} queues",
                    replayed.label
                )));
            }
            for taken in delivery.reader.take(work, &delivery.message).await? {
                deliveries.extend(self.hand_on(&delivery, taken, &mut parts));
            }
        }
        Ok(parts)
    }

    /// Notes what became of a part of a delivery, and finds who reads on.
    fn hand_on(&self, delivery: &Delivery<'_>, mut taken: TakenItem, parts: &mut Parts) -> Vec<Delivery<'a>> {
        let mut next = Vec::new();
        let worker = delivery.reader.worker();
        let outcome = taken.outcome.as_ref().ok().map(|outcome| Step { worker, outcome: *outcome });
        let before = match (&taken.fact, &outcome) {
            (None, Some(outcome)) => [delivery.before.clone(), vec![outcome.clone()]].concat(),
            (Some(_), _) | (_, None) => Vec::new(),
        };
        for message in std::mem::take(&mut taken.forward) {
            let readers = self.readers_of(&message.exchange, &message.routing_key);
            if readers.is_empty() {
                taken.publish.push(message);
                continue;
            }
            let message = received(message);
            next.extend(readers.into_iter().map(|reader| Delivery {
                reader,
                message: message.clone(),
                before: before.clone(),
                stations: delivery.stations + 1,
            }));
        }
        parts.note(&delivery.before, worker, taken, !next.is_empty());
        next
    }

    fn reader(&self, queue: &str) -> Result<&'a dyn Consumer, Trouble> {
        self.find(queue).ok_or_else(|| {
            let known: Vec<&str> = self.readers.iter().map(|reader| reader.queue()).collect();
            lasting(anyhow!("expected a queue that a worker reads ({}), got {queue:?}", known.join(", ")))
        })
    }

    fn find(&self, queue: &str) -> Option<&'a dyn Consumer> {
        self.readers.iter().find(|reader| reader.queue() == queue).map(|reader| &**reader)
    }

    /// Whoever reads what is published so: by the bindings, or by the queue's name where it goes to the default exchange.
    fn readers_of(&self, exchange: &str, routing_key: &str) -> Vec<&'a dyn Consumer> {
        let bound = self.topology.bindings.iter().filter(|binding| {
            binding.exchange == exchange && (binding.routing_key == "#" || binding.routing_key == routing_key)
        });
        let named = Some(routing_key).filter(|_| exchange.is_empty());
        let queues = bound.map(|binding| binding.queue.as_str()).chain(named);
        let prefix = self.planner.namespace.name("");
        queues.filter_map(|queue| self.find(queue.strip_prefix(&prefix)?)).collect()
    }
}

/// A message as its reader would receive it.
fn received(message: Message) -> Incoming {
    let headers = message.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    Incoming {
        exchange: message.exchange,
        routing_key: message.routing_key,
        message_id: Some(message.message_id),
        content_type: Some(message.content_type),
        headers: headers.collect(),
        body: message.body,
        ..Incoming::default()
    }
}

/// The facts of a message, while it is followed.
#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    /// What a worker made of a fact goes to what others made of it. What only leads to facts is shown beside them.
    fn note(&mut self, before: &[Step], worker: &'static str, taken: TakenItem, is_read_on: bool) {
        if taken.fact.is_none() && is_read_on && taken.publish.is_empty() {
            return;
        }
        let place = self.place(before, &taken);
        let part = &mut self.0[place];
        match taken.outcome {
            Ok(outcome) => {
                part.outcomes.push(Step { worker, outcome });
                let is_nothing_new =
                    outcome.meaning() == Meaning::NothingNew && taken.posted.transactions.is_empty();
                if !is_read_on && !is_nothing_new {
                    part.verdict = part.verdict.max(Verdict::WouldApply);
                }
            }
            Err((code, reason)) => {
                part.verdict = Verdict::WouldFail;
                part.failure.get_or_insert(Failure { worker, code, reason });
            }
        }
        part.foreseen.extend(taken.foreseen);
        part.transactions.extend(taken.posted.transactions);
        part.note_balances(taken.posted.balances);
        for message in taken.publish {
            part.note_published(message);
        }
    }

    fn place(&mut self, before: &[Step], taken: &TakenItem) -> usize {
        let (cause, kind) = match &taken.fact {
            Some(named) => (Some(&named.cause), Some(named.kind.as_str())),
            None => (None, None),
        };
        let known = self.0.iter().position(|part| cause.is_some() && part.cause.as_ref() == cause);
        known.unwrap_or_else(|| {
            self.0.push(Part {
                fact: cause.map(Cause::to_string),
                cause: cause.cloned(),
                kind,
                verdict: Verdict::AlreadyApplied,
                failure: None,
                pending: None,
                outcomes: before.to_vec(),
                transactions: Vec::new(),
                balances: Vec::new(),
                events: Vec::new(),
                publications: Vec::new(),
                foreseen: Vec::new(),
            });
            self.0.len() - 1
        })
    }

    fn into_message(self, replayed: &Replayed) -> PlannedMessage {
        let parts = self.0;
        PlannedMessage {
            label: replayed.label.clone(),
            queue: replayed.queue.clone(),
            verdict: parts.iter().map(|part| part.verdict).max().unwrap_or(Verdict::AlreadyApplied),
            failure: parts.iter().find_map(|part| part.failure.clone()),
            parts,
        }
    }
}

impl Part {
    /// What the fact is called where people read it.
    pub fn name(&self) -> &str {
        self.fact.as_deref().unwrap_or(NAMELESS)
    }

    /// It would be stopped as a repeat, and nobody would read on.
    fn is_stopped_at_the_gate(&self) -> bool {
        let last = self.outcomes.last();
        self.verdict == Verdict::AlreadyApplied
            && last.is_some_and(|last| {
                last.worker == <Gate as bus::Worker>::NAME && last.outcome == Outcome::Repeated
            })
    }

    /// Nothing where the fact was applied by all who read it.
    async fn pending(
        &self,
        work: &mut Work,
        readers: &Readers,
        earlier: &[PlannedMessage],
    ) -> Result<Option<Pending>, Trouble> {
        let Some(cause) = &self.cause else { return Ok(None) };
        let states = outcomes::states(work.connection().await?, readers, [cause]).await?;
        let is_applied = |standing: &ReaderStanding| match standing {
            ReaderStanding::Settled { outcome, .. } => outcome.meaning() != Meaning::Refused,
            ReaderStanding::NotHandedOver => true,
            ReaderStanding::GivenUp { .. } | ReaderStanding::InFlight => false,
        };
        let standings = || states.iter().flat_map(|state| &state.readers);
        if standings().all(|(_, standing)| is_applied(standing)) {
            return Ok(None);
        }
        let parts = earlier.iter().flat_map(|message| &message.parts);
        let would_fail = parts.filter(|part| part.cause == self.cause).find_map(|part| part.failure.clone());
        if let Some(failure) = would_fail {
            return Ok(Some(Pending::WouldFail(failure)));
        }
        // The letters of these workers say nothing: they stop the fact as a repeat, or have settled it.
        let stopped_by = self.outcomes.iter().map(|outcome| outcome.worker);
        let settled_by =
            standings().filter(|(_, standing)| is_applied(standing)).map(|(name, _)| name.as_str());
        let others: Vec<&str> = stopped_by.chain(settled_by).collect();
        let given_up = dead_letters::read::given_up(work.connection().await?, cause, &others).await?;
        Ok(Some(match given_up {
            Some(GivenUp { letter, worker, code, reason }) => {
                Pending::GivenUp { letter, worker, code, reason }
            }
            None => Pending::InFlight,
        }))
    }

    fn note_balances(&mut self, changes: Vec<BalanceChange>) {
        for change in changes {
            match self.balances.iter_mut().find(|known| known.account == change.account) {
                Some(known) => known.after = change.after,
                None => self.balances.push(change),
            }
        }
    }

    fn note_published(&mut self, message: Message) {
        match Event::read(&message.body) {
            Some(event) => self.events.push(event),
            None => {
                let Message { exchange, routing_key, .. } = message;
                self.publications.push(Publication { exchange, routing_key });
            }
        }
    }
}

impl Event {
    /// Reads an event as it would go out. Its id and its time would be others.
    fn read(body: &[u8]) -> Option<Self> {
        let mut event: Value = serde_json::from_slice(body).ok()?;
        let kind = event.get("type")?.as_str()?.to_owned();
        Some(Self {
            kind,
            account: event["subject"].as_str().map(str::to_owned),
            sequence: event["sequence"].as_u64(),
            data: event["data"].take(),
        })
    }
}
