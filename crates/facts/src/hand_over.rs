//! Hand-overs: a reader that was added later is given the facts of a kind that were admitted before it existed.
//!
//! The gate passes a fact on once, to the readers of that moment; facts that no worker reads stay in its inbox. A hand-over
//! lists those that the reader has not settled, and puts them into the reader's own queue in order of time, so that no other
//! reader of their exchange sees them again. New facts flow meanwhile as always.
//!
//! A step takes the hand-over in hand, publishes, waits for the confirms and commits: a crash in between publishes a message
//! twice, which the reader makes harmless by the facts' identity. A command that begins a hand-over that was begun before, or
//! is under way elsewhere, goes on with it: each fact of the list goes out once.

mod store;

use crate::envelopes::pack;
use crate::readers::{Readers, handed_over};
use bus::exchange;
use bus::{Broker, BrokerError, Namespace, PublishError, Publisher, QueueDepth, Topology};
use db::{Doing, Pool};
use domain::{Cause, Envelope, Fact, FactKind};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{Listed, waiting_readers};
use time::OffsetDateTime;
use uuid::Uuid;

pub use store::HandOverState;

/// Facts of one step: as many as one message carries.
pub const STEP: usize = domain::envelope::BATCH_MAX;

/// While so many messages wait in the reader's queue no more are put there: new facts wait behind them.
const QUEUE_MAX: u32 = 100;

/// Why facts cannot be handed over. A hand-over that has begun goes on where it stopped, whenever it is begun again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no worker reads {0}: see `bursar topology` for what is read, and by whom")]
    NobodyReads(FactKind),
    #[error("{reader} does not read {kind}: it is read by {by}")]
    NotAReader { kind: FactKind, reader: String, by: String },
    #[error("{reader} has not read {kind} yet: start the fleet of this version, then hand over")]
    NotStarted { kind: FactKind, reader: String },
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error("what has been handed over is safe, and the same command goes on with the rest: {0}")]
    Publish(#[from] PublishError),
    #[error("what has been handed over is safe, and the same command goes on with the rest: {0}")]
    Broker(#[from] BrokerError),
}

/// What hand-overs are made with.
#[derive(Clone)]
pub struct HandOvers {
    pub pool: Pool,
    pub namespace: Namespace,
    pub topology: Topology,
    pub broker: Broker,
    pub publisher: Publisher,
}

/// A hand-over, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandOver {
    pub hand_over: Uuid,
    pub kind: String,
    pub reader: String,
    pub state: HandOverState,
    #[serde(with = "time::serde::rfc3339")]
    pub began_at: OffsetDateTime,
    /// Who began it.
    pub by: String,
    /// How many facts are on its list.
    pub facts: i64,
    /// Put into the reader's queue.
    pub handed_over: i64,
    /// Settled by the reader, or given up on, since the list was made.
    pub left_out: i64,
    /// Stored in a form that this version cannot read.
    pub unreadable: i64,
}

impl HandOver {
    /// How far the list is done.
    pub fn place(&self) -> i64 {
        self.handed_over + self.left_out + self.unreadable
    }
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandOverStep {
    /// Some facts went out, or the last ones had: see its state.
    Went(HandOver),
    /// Enough messages wait in the reader's queue.
    QueueIsFull(QueueDepth),
    /// Another process makes a step of it just now.
    InHand,
}

/// Which reader is given which facts, and the operator who orders it.
#[derive(Debug, Clone)]
pub struct HandOverOrder<'a> {
    pub kind: FactKind,
    pub reader: &'a str,
    pub by: &'a str,
}

impl HandOvers {
    /// The workers that read a kind and do not have all of it.
    ///
    /// # Errors
    /// [`Error::NobodyReads`], or those of the database.
    pub async fn readers_to_serve(&self, kind: FactKind) -> Result<Vec<String>, Error> {
        let readers = Readers::of(&self.topology, &self.namespace);
        let names: Vec<&str> = readers.of_kind(kind).collect();
        match names.is_empty() {
            true => Err(Error::NobodyReads(kind)),
            false => Ok(waiting_readers(&self.pool, kind.as_str(), &names).await?),
        }
    }

    /// Begins a hand-over, or goes on with the one that is not finished. Listing what is to be handed over reads the whole
    /// inbox once.
    ///
    /// # Errors
    /// A kind or a reader that cannot be handed over, or those of the database.
    pub async fn begin(&self, order: &HandOverOrder<'_>, now: OffsetDateTime) -> Result<HandOver, Error> {
        self.check(order)?;
        match store::begin(&self.pool, order, now).await? {
            Some(hand_over) => Ok(hand_over),
            None => Err(Error::NotStarted { kind: order.kind, reader: order.reader.to_owned() }),
        }
    }

    fn check(&self, order: &HandOverOrder<'_>) -> Result<(), Error> {
        let readers = Readers::of(&self.topology, &self.namespace);
        let names: Vec<&str> = readers.of_kind(order.kind).collect();
        match &names[..] {
            [] => Err(Error::NobodyReads(order.kind)),
            names if names.contains(&order.reader) => Ok(()),
            names => {
                let (reader, by) = (order.reader.to_owned(), names.join(", "));
                Err(Error::NotAReader { kind: order.kind, reader, by })
            }
        }
    }

    /// The next facts of a hand-over, at most so many. The last step finishes it.
    ///
    /// # Errors
    /// Those of the database or of RabbitMQ. The step can be made again.
    pub async fn step(&self, hand_over: &HandOver, facts_max: usize) -> Result<HandOverStep, Error> {
        let queues = self.queues(hand_over);
        for queue in &queues {
            let depth = self.broker.depth(queue).await?;
            if depth.ready >= QUEUE_MAX {
                return Ok(HandOverStep::QueueIsFull(depth));
            }
        }
        let mut transaction = self.pool.begin().await.doing("beginning a step of a hand-over")?;
        let Some(claimed) = store::claim(&mut transaction, hand_over.hand_over).await? else {
            return Ok(HandOverStep::InHand);
        };
        if claimed.state == HandOverState::Finished {
            return Ok(HandOverStep::Went(claimed));
        }
        let limit = i64::try_from(facts_max.clamp(1, STEP)).unwrap_or(i64::MAX);
        let listed = store::next(&mut transaction, &claimed, limit).await?;
        let went = if listed.is_empty() {
            handed_over(&mut transaction, &claimed.reader, &claimed.kind).await?;
            store::finish(&mut transaction, claimed.hand_over, OffsetDateTime::now_utc()).await?
        } else {
            let done = self.put(&listed, &queues).await?;
            store::advance(&mut transaction, claimed.hand_over, done).await?
        };
        transaction.commit().await.doing("committing a step of a hand-over")?;
        Ok(HandOverStep::Went(went))
    }

    /// The queues, with their namespace, in which the reader waits for facts of the kind.
    fn queues(&self, hand_over: &HandOver) -> Vec<String> {
        let facts = self.namespace.name(exchange::FACTS);
        let of_kind = |queue: &str| {
            self.topology.bindings.iter().any(|binding| {
                binding.exchange == facts && binding.routing_key == hand_over.kind && binding.queue == queue
            })
        };
        let queues = self.topology.queues.iter();
        queues
            .filter(|queue| queue.reader == Some(hand_over.reader.as_str()) && of_kind(&queue.name))
            .map(|queue| queue.name.clone())
            .collect()
    }

    /// Puts facts into the reader's queues and waits until RabbitMQ has confirmed them.
    async fn put(&self, listed: &[Listed], queues: &[String]) -> Result<StepCounts, Error> {
        let now = OffsetDateTime::now_utc();
        let (mut envelopes, mut done) = (Vec::new(), StepCounts::default());
        for fact in listed {
            match fact.envelope(now) {
                _ if fact.is_over => done.left_out += 1,
                Ok(envelope) => envelopes.push(envelope),
                Err(why) => {
                    done.unreadable += 1;
                    tracing::error!(cause = %fact.cause, why, "a stored fact cannot be read, and is not handed over");
                }
            }
        }
        done.handed_over = envelopes.len() as i64;
        let messages = pack(&self.namespace, exchange::FACTS, envelopes);
        let addressed = queues
            .iter()
            .flat_map(|queue| messages.iter().map(|message| message.clone().into_queue(queue, now)));
        self.publisher.publish_all(addressed.collect()).await?;
        Ok(done)
    }
}

/// What became of the facts of a step.
#[derive(Debug, Clone, Copy, Default)]
struct StepCounts {
    handed_over: i64,
    left_out: i64,
    unreadable: i64,
}

impl Listed {
    /// As the gate would pass it on now: latencies count from here.
    fn envelope(&self, now: OffsetDateTime) -> Result<Envelope, String> {
        let kind = FactKind::parse(&self.kind).ok_or_else(|| format!("a kind {:?}", self.kind))?;
        let data = RawValue::from_string(self.fact.clone()).map_err(|error| error.to_string())?;
        let fact = Fact::parse(kind, &data).map_err(|error| error.to_string())?;
        let Cause { source, id } = self.cause.clone();
        let (cause, received_at) = (Cause { source, id }, Some(now));
        Ok(Envelope { cause, time: self.time, received_at, traceparent: None, raw: None, fact })
    }
}
