//! Hand-overs: a reader that was added later is given the facts of a kind that were admitted before it existed.
//!
//! The gate passes a fact on once, to the readers of that moment; facts that no worker reads stay in its inbox. A hand-over
//! lists those that the reader has not settled, and puts them into the reader's own queue in order of time, so that no other
//! reader of their exchange sees them again. New facts flow meanwhile as always.
//!
//! A step takes the hand-over in hand, publishes, waits for the confirms and commits: a crash in between publishes a message
//! twice, which the reader makes harmless by the facts' identity. A command that begins a hand-over that was begun before, or
//! is under way elsewhere, goes on with it: each fact of the list goes out once.
//!
//! A hand-over whose list went out is not finished yet: it drains. It is finished when the reader has settled, or given up on,
//! every fact of the list. Only then is every older fact of the kind expected from the reader; not where some were unreadable.
//! Where the reader's queue is empty and it settles nothing for long, what is left has vanished from the queue (somebody has
//! purged it): it is put there again, but for what was settled meanwhile.

mod quiet;
mod store;

use crate::envelopes::pack;
use crate::readers::{Readers, handed_over};
use bus::exchange;
use bus::{Broker, BrokerError, Namespace, PublishError, Publisher, QueueDepth, Topology};
use db::{Doing, PgConnection, Pool};
use domain::{Cause, Envelope, Fact, FactKind};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{Drained, Listed, waiting_readers};
use time::OffsetDateTime;
use uuid::Uuid;

pub use quiet::{QUIET, QuietWatch};
pub use store::HandOverState;

/// Facts of one step: as many as one message carries.
pub const STEP: usize = domain::envelope::BATCH_MAX;

/// While so many messages (of up to [`STEP`] facts) wait in the reader's queue no more are put there: new facts wait behind
/// them.
const QUEUE_MAX: u32 = 10;

/// So many facts of the list are looked at by one step that waits for the reader.
const DRAIN_MAX: i64 = 5_000;

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
    /// How many facts are on its list. One that had to go out again counts again.
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

    fn is_out(&self) -> bool {
        self.place() >= self.facts
    }
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandOverStep {
    /// Some facts went out, or the reader has settled the last ones: see its state.
    Went(HandOver),
    /// All facts went out, and the reader has not settled all of them yet.
    Draining(Draining),
    /// Enough messages wait in the reader's queue.
    QueueIsFull(QueueDepth),
    /// Another process makes a step of it just now.
    InHand,
}

/// What a hand-over still waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draining {
    pub hand_over: HandOver,
    /// The reader is done with so many facts from the start of the list.
    pub settled: i64,
    /// Facts that came to their end at the reader since the look before.
    pub gone: u64,
    /// Of the reader's queue.
    pub depth: Option<QueueDepth>,
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

    /// The next facts of a hand-over, at most so many; when all went out, a look at what the reader has settled. The last step
    /// finishes it.
    ///
    /// # Errors
    /// Those of the database or of RabbitMQ. The step can be made again.
    pub async fn step(&self, hand_over: &HandOver, facts_max: usize) -> Result<HandOverStep, Error> {
        let queues = self.queues(hand_over);
        let depth = self.depth(&queues).await?;
        if let Some(depth) = depth.filter(|depth| depth.ready >= QUEUE_MAX && !hand_over.is_out()) {
            return Ok(HandOverStep::QueueIsFull(depth));
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
        let step = if listed.is_empty() {
            drain(&mut transaction, claimed, depth).await?
        } else {
            let done = self.put(&listed, &queues).await?;
            HandOverStep::Went(store::advance(&mut transaction, claimed.hand_over, &done).await?)
        };
        transaction.commit().await.doing("committing a step of a hand-over")?;
        Ok(step)
    }

    /// What is left of a list that went out goes out once more, where nothing of it waits in the reader's queue: for whoever has
    /// found that it vanished ([`QuietWatch`]). Nothing changes where messages wait there, where the list has not all gone out,
    /// or where another process has it in hand. What the reader has in its hands after all comes twice, and is a repeat.
    ///
    /// # Errors
    /// Those of the database or of RabbitMQ. It can be done again.
    pub async fn again(&self, hand_over: &HandOver) -> Result<HandOverStep, Error> {
        let depths = self.depths(&self.queues(hand_over)).await?;
        if let Some(waits) = depths.into_iter().find(|depth| depth.ready > 0) {
            return Ok(HandOverStep::QueueIsFull(waits));
        }
        let mut transaction = self.pool.begin().await.doing("handing over again")?;
        let Some(claimed) = store::claim(&mut transaction, hand_over.hand_over).await? else {
            return Ok(HandOverStep::InHand);
        };
        if claimed.state == HandOverState::Finished || !claimed.is_out() {
            return Ok(HandOverStep::Went(claimed));
        }
        let listed = store::list_again(&mut transaction, &claimed).await?;
        transaction.commit().await.doing("handing over again")?;
        let (reader, facts) = (&listed.reader, listed.facts - claimed.facts);
        tracing::warn!(
            reader,
            kind = listed.kind,
            facts,
            "what was handed over has vanished from the queue, and goes there again"
        );
        Ok(HandOverStep::Went(listed))
    }

    /// Of the queue that takes longest to empty: the one without a consumer, or else the longest.
    async fn depth(&self, queues: &[String]) -> Result<Option<QueueDepth>, Error> {
        let depths = self.depths(queues).await?;
        Ok(depths.into_iter().max_by_key(|depth| (depth.consumers == 0, depth.ready)))
    }

    async fn depths(&self, queues: &[String]) -> Result<Vec<QueueDepth>, Error> {
        let mut depths = Vec::new();
        for queue in queues {
            depths.push(self.broker.depth(queue).await?);
        }
        Ok(depths)
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
                    done.unreadable.push(fact.place);
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
#[derive(Debug, Clone, Default)]
struct StepCounts {
    handed_over: i64,
    left_out: i64,
    /// Their places in the list.
    unreadable: Vec<i64>,
}

/// A step of a hand-over whose list went out. What the gate admitted for readers of before while the list was made is listed
/// when all else is settled.
async fn drain(
    connection: &mut PgConnection,
    hand_over: HandOver,
    depth: Option<QueueDepth>,
) -> Result<HandOverStep, Error> {
    if let Some(Drained { settled, gone }) = store::drain(connection, hand_over.hand_over, DRAIN_MAX).await? {
        return Ok(HandOverStep::Draining(Draining { hand_over, settled, gone, depth }));
    }
    if hand_over.unreadable == 0 {
        let listed = store::list_missed(connection, &hand_over).await?;
        if !listed.is_out() {
            return Ok(HandOverStep::Went(listed));
        }
        handed_over(connection, &hand_over.reader, &hand_over.kind).await?;
    }
    let now = OffsetDateTime::now_utc();
    Ok(HandOverStep::Went(store::finish(connection, hand_over.hand_over, now).await?))
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
