//! One consumer on one channel: it takes a batch, settles it, acknowledges it, and is built anew whenever it is lost.

use super::health::{InHand, LOSSES_MAX, LOSSES_WITHIN};
use super::prefetch::Prefetch;
use super::stage::Stage;
use super::suspect::{Begun, Suspect, Tried, accusation, came_back_often};
use super::undelivered::{ReplayOutcomes, Undelivered};
use super::{Announcement, BATCH_FACTS, Context, Decoded, Verdict, Worker};
use crate::backoff::Delays;
use crate::connection::{Broker, BrokerError};
use crate::fate::{Fate, Fated, code, panic_text};
use crate::message::Incoming;
use crate::publisher::PublishError;
use crate::returned::Part;
use crate::unreadable::Unreadable;
use db::Work;
use domain::Outcome;
use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

/// A batch of large messages is taken up once it holds this many bytes.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// How long a batch that is not full waits for more. Every batch costs a commit and a round of confirms, so many small ones
/// cost more CPU, and under load more latency, than this wait.
const LINGER: Duration = Duration::from_millis(5);

/// A database that does not answer the simplest question within this is away.
const DATABASE_PATIENCE: Duration = Duration::from_secs(3);

/// A step has limits of its own, for what it waits for. One that takes so many times as long as its batch may has met something
/// that no limit ends: a loop that never waits, for one.
const STEP_LIMITS: u32 = 4;

/// Held while a part of the shard is in the database.
pub(super) type Shard = tokio::sync::Mutex<()>;

pub(super) struct Lane<W> {
    pub worker: Arc<W>,
    pub context: Context,
    name: String,
    /// Shared by the worker's lanes.
    shards: Arc<[Shard]>,
    /// A connection of the worker's lanes alone.
    apart: Broker,
}

/// Why a lane's consumer is over.
enum Ended {
    /// It was asked to stop, and everything it had taken up is settled.
    Stopped,
    /// The consumer or its channel is gone.
    Lost(String),
    /// Another prefetch fits the messages better, and all that the old one brought is settled.
    Resized,
}

/// When a lane lost its consumer; a broker that is away is no loss. The workers of a process share a connection, which costs 8 MiB of memory, as long as it
/// serves: what kills it over and over may lie in the queue of one of them, and stops that one alone once each has its own.
#[derive(Default)]
struct Losses(Vec<Instant>);

impl Losses {
    fn note(&mut self) {
        if !self.are_many() {
            self.0.retain(|lost| lost.elapsed() < LOSSES_WITHIN);
            self.0.push(Instant::now());
        }
    }

    /// Whether it goes on by a connection apart, for good.
    fn are_many(&self) -> bool {
        self.0.len() >= LOSSES_MAX
    }
}

/// Where a lane's messages come from.
struct Source {
    consumer: Consumer,
    flow: Flow,
    /// A message that was taken and did not belong into the batch before.
    waiting: Option<Received>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    /// It was cancelled, and brings what was on its way.
    Draining,
    Drained,
}

/// A message that was taken and is in no batch yet.
struct Received {
    tag: u64,
    message: Incoming,
}

impl Received {
    /// Whether it is settled with nobody else beside it: a suspect, and what failed before, which others would wait for. The
    /// attempts of a dead letter are of its past.
    fn stands_alone(&self) -> bool {
        let message = &self.message;
        let has_failed = message.death.is_none() && !message.attempts().is_empty();
        has_failed || came_back_often(message.returns)
    }
}

/// A batch as it was taken: readable items with the message each came in, and the others.
struct Batch<I> {
    messages: Vec<Incoming>,
    /// How many items each message held, readable or not.
    sizes: Vec<usize>,
    items: Vec<I>,
    origins: Vec<usize>,
    bad: Vec<Undelivered>,
    bytes: usize,
    /// Of its messages, in bytes.
    largest: usize,
    last_tag: u64,
    /// Set where the batch is a single message that came back too often, and is tried now.
    tried: Option<Tried>,
    /// Says that the lane has it in hand.
    in_hand: InHand,
}

impl<I> Batch<I> {
    fn of(in_hand: InHand) -> Self {
        Self {
            messages: Vec::new(),
            sizes: Vec::new(),
            items: Vec::new(),
            origins: Vec::new(),
            bad: Vec::new(),
            bytes: 0,
            largest: 0,
            last_tag: 0,
            tried: None,
            in_hand,
        }
    }
}

/// What became of an item.
enum Ruling {
    Done(Outcome),
    Failed(Failure),
}

impl<W: Worker> Lane<W> {
    pub fn new(worker: Arc<W>, context: Context, number: usize, shards: Arc<[Shard]>, apart: Broker) -> Self {
        let name = format!("{}.{number}", worker.queue());
        Self { worker, context, name, shards, apart }
    }

    /// Builds the consumer, and builds it anew whenever it is lost.
    pub async fn supervise(self) {
        let mut delays = Delays::for_servers();
        let mut losses = Losses::default();
        while !self.context.stop.is_cancelled() {
            let started = Instant::now();
            let broker = if losses.are_many() { &self.apart } else { &self.context.consume };
            let ended = self.consume(broker).await;
            self.context.health.consumes(&self.name, false);
            let why = match ended {
                Ok(Ended::Stopped) => return,
                Ok(Ended::Lost(why)) => {
                    self.context.health.lost(&self.name);
                    losses.note();
                    why
                }
                Ok(Ended::Resized) => continue,
                Err(error) => error.to_string(),
            };
            if started.elapsed() > Duration::from_secs(10) {
                delays.reset();
            }
            let delay = delays.next_delay();
            tracing::warn!(
                worker = W::NAME,
                lane = self.name,
                why,
                retry_ms = delay.as_millis() as u64,
                "consumer lost"
            );
            tokio::select! {
                () = self.context.stop.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    async fn consume(&self, broker: &Broker) -> Result<Ended, BrokerError> {
        let channel = broker.channel().await?;
        let mut prefetch = Prefetch::of::<W>();
        loop {
            match self.consume_with(&channel, &mut prefetch).await {
                Ok(Ended::Resized) => {}
                Ok(ended) => return Ok(ended),
                // There was a channel: whatever it shows by, it is lost.
                Err(error) if error.is_transient() => return Ok(Ended::Lost(error.to_string())),
                Err(error) => return Err(error),
            }
        }
    }

    async fn consume_with(&self, channel: &Channel, prefetch: &mut Prefetch) -> Result<Ended, BrokerError> {
        // Without a limit the client would buffer the whole queue in memory. It holds for the consumers that come after it.
        channel.basic_qos(prefetch.messages, BasicQosOptions::default()).await?;
        let queue = self.context.namespace.name(self.worker.queue());
        let tag = format!("{}-{}", self.name, Uuid::now_v7());
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume(queue.as_str().into(), tag.as_str().into(), options, FieldTable::default())
            .await?;
        let mut source = Source { consumer, flow: Flow::Open, waiting: None };
        self.context.health.consumes(&self.name, true);
        tracing::info!(worker = W::NAME, lane = self.name, queue, prefetch = prefetch.messages, "consuming");
        let ended = self.work_off(channel, &mut source, prefetch).await;
        if let Ok(Ended::Stopped) = ended {
            // What was delivered and not taken up goes back with the closing channel. RabbitMQ before 4 counts that as a
            // return, as it does a crash: who is a suspect by it is only settled alone.
            drop(channel.basic_cancel(tag.as_str().into(), BasicCancelOptions::default()).await);
            Broker::close_channel(channel.clone()).await;
        }
        ended
    }

    async fn work_off(
        &self,
        channel: &Channel,
        source: &mut Source,
        prefetch: &mut Prefetch,
    ) -> Result<Ended, BrokerError> {
        loop {
            let batch = match self.take(source, prefetch.messages).await {
                Ok(batch) => batch,
                Err(ended) => return Ok(ended),
            };
            let last_tag = batch.last_tag;
            // What was brought already is settled before the consumer is made anew: given back it would count as returned.
            if prefetch.adapts_to(batch.largest) && source.flow == Flow::Open {
                channel.basic_cancel(source.consumer.tag(), BasicCancelOptions::default()).await?;
                source.flow = Flow::Draining;
            }
            if self.settle(batch).await.is_err() {
                return Ok(Ended::Stopped);
            }
            channel.basic_ack(last_tag, BasicAckOptions { multiple: true }).await?;
            self.context.health.settled(&self.name);
        }
    }

    /// Waits for a first delivery, then takes what is there. What came back too often is a batch by itself.
    async fn take(&self, source: &mut Source, prefetch: u16) -> Result<Batch<W::Item>, Ended> {
        let first = match source.waiting.take() {
            Some(waiting) => Some(waiting),
            None => tokio::select! {
                biased;
                () = self.context.stop.cancelled() => return Err(Ended::Stopped),
                first = self.next(source) => first?,
            },
        };
        let Some(first) = first else { return Err(Ended::Resized) };
        let mut batch = Batch::of(self.context.health.batch(&self.name));
        let is_alone = first.stands_alone();
        self.add(&mut batch, first).await?;
        if is_alone {
            return Ok(batch);
        }
        let deadline = Instant::now() + LINGER;
        // Items with a key fill a transaction for each shard. More messages than the prefetch do not come.
        let is_keyed = batch.items.first().is_some_and(|item| self.worker.key(item).is_some());
        let facts_max = if is_keyed { BATCH_FACTS * self.shards.len() } else { BATCH_FACTS };
        let messages_max = facts_max.min(prefetch.into());
        while batch.items.len() < facts_max
            && batch.messages.len() < messages_max
            && batch.bytes < BATCH_BYTES
        {
            let Ok(next) = tokio::time::timeout_at(deadline, self.next(source)).await else { break };
            let Some(next) = next? else { break };
            if next.stands_alone() {
                source.waiting = Some(next);
                break;
            }
            self.add(&mut batch, next).await?;
        }
        Ok(batch)
    }

    /// Reads a message into the batch. Fails where it waited for its turn, and the lane was asked to stop.
    async fn add(&self, batch: &mut Batch<W::Item>, received: Received) -> Result<(), Stop> {
        let Received { tag, mut message } = received;
        // What of a message cannot be read its worker may need: none reads the rest of it, but who keeps dead letters.
        let unreadable = message.unreadable.as_ref().filter(|_| W::GIVES_UP).map(Unreadable::reason);
        let suspect = Suspect::of(W::NAME, &message);
        let decoded = match (unreadable, suspect) {
            (Some(reason), _) => vec![whole(&message, code::UNREADABLE, reason)],
            (None, None) => self.decode(&message),
            (None, Some(suspect)) => match suspect.begin(&self.context.pool, &self.context.stop).await? {
                Begun::Tried(tried) => {
                    batch.tried = Some(tried);
                    self.decode(&message)
                }
                Begun::Accused(reading) => {
                    batch.bad = self.take_apart(&message);
                    reading.end(&self.context.pool).await;
                    Vec::new()
                }
                Begun::Unreadable => vec![whole(&message, code::CRASH, accusation())],
            },
        };
        let origin = batch.messages.len();
        batch.last_tag = tag;
        batch.bytes += message.body.len();
        batch.largest = batch.largest.max(message.body.len());
        batch.sizes.push(decoded.len());
        for entry in decoded {
            match entry {
                Decoded::Item(item) => {
                    batch.items.push(item);
                    batch.origins.push(origin);
                }
                Decoded::Bad { body, content_type, code, reason } => {
                    let part = Part { content_type, body };
                    batch.bad.push(Undelivered { origin, part, code, why: reason, again: false });
                }
            }
        }
        if batch.sizes[origin] > 1 {
            // Its items can be written out one by one; the whole is not needed any more.
            message.body = Vec::new();
        }
        batch.messages.push(message);
        Ok(())
    }

    /// A message that ends the process, the first of its batch. Of several items one may do so: each is put back by itself
    /// and tried so. Who is alone in it is given up on.
    fn take_apart(&self, message: &Incoming) -> Vec<Undelivered> {
        let mut entries = self.decode(message);
        if entries.len() < 2 {
            entries = vec![whole(message, code::CRASH, accusation())];
        }
        entries.into_iter().map(|entry| self.apart(entry)).collect()
    }

    fn apart(&self, entry: Decoded<W::Item>) -> Undelivered {
        let origin = 0;
        match entry {
            Decoded::Item(item) => {
                let (content_type, body) = self.worker.encode(&item);
                let part = Part { content_type: Some(content_type), body };
                Undelivered { origin, part, code: code::CRASH, why: accusation(), again: true }
            }
            Decoded::Bad { body, content_type, code, reason } => {
                let part = Part { content_type, body };
                Undelivered { origin, part, code, why: reason, again: false }
            }
        }
    }

    /// Nothing once a consumer that was cancelled has brought all it had.
    async fn next(&self, source: &mut Source) -> Result<Option<Received>, Ended> {
        if source.flow == Flow::Drained {
            return Ok(None);
        }
        let delivery = source.consumer.next().await;
        if delivery.is_none() && source.flow == Flow::Draining {
            source.flow = Flow::Drained;
            return Ok(None);
        }
        let delivery = delivered(delivery)?;
        let tag = delivery.delivery_tag;
        Ok(Some(Received { tag, message: Incoming::from(delivery).restored(&self.context.namespace) }))
    }

    /// A message that makes its decoder panic is a dead letter like any other.
    fn decode(&self, message: &Incoming) -> Vec<Decoded<W::Item>> {
        let came_at = message.returned.as_ref().map(|returned| returned.first_failed_at);
        let now = came_at.unwrap_or_else(OffsetDateTime::now_utc);
        let decode = AssertUnwindSafe(|| self.worker.decode(message, now));
        let _step = self.context.health.step(&self.name, STEP_LIMITS * self.context.time_limit);
        std::panic::catch_unwind(decode).unwrap_or_else(|panic| {
            let failure = Failure::panic::<W>(&*panic);
            vec![whole(message, failure.code, format!("decoding it: {}", failure.why))]
        })
    }

    /// Settles every item of a batch. Fails only when it was asked to stop before it could.
    async fn settle(&self, mut batch: Batch<W::Item>) -> Result<(), Stop> {
        let parts = match batch.tried {
            // One try, one after the other.
            Some(_) => vec![(None, batch.items.len())],
            None => self.split(&mut batch),
        };
        let Batch { messages, sizes, items, origins, bad: mut undelivered, tried, in_hand: _in_hand, .. } =
            batch;
        let decided = self.decide_all(&items, &parts, tried.as_ref()).await;
        if let Some(tried) = tried {
            tried.end(&self.context.pool).await;
        }
        let rulings = decided?;
        let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
        let mut replays = ReplayOutcomes::new();
        for ((item, origin), ruling) in items.iter().zip(origins).zip(rulings) {
            match ruling {
                Ruling::Done(outcome) => {
                    *outcomes.entry(outcome).or_default() += 1;
                    if messages[origin].replayed().is_some() {
                        replays.entry(origin).or_default().insert(outcome);
                    }
                }
                Ruling::Failed(Failure { fate, code, why }) => {
                    let part = match sizes[origin] {
                        1 => Part { content_type: None, body: messages[origin].body.clone() },
                        _ => {
                            let (content_type, body) = self.worker.encode(item);
                            Part { content_type: Some(content_type), body }
                        }
                    };
                    let again = fate == Fate::Unknown;
                    undelivered.push(Undelivered { origin, part, code, why, again });
                }
            }
        }
        self.hand_over(&messages, undelivered, replays).await?;
        self.count(&items, outcomes);
        Ok(())
    }

    fn count(&self, items: &[W::Item], outcomes: BTreeMap<Outcome, u64>) {
        for (outcome, count) in outcomes {
            metrics::counter!("bursar_facts_total", "worker" => W::NAME, "outcome" => outcome.as_str())
                .increment(count);
        }
        metrics::histogram!("bursar_batch_facts", "worker" => W::NAME).record(items.len() as f64);
        let latency = metrics::histogram!("bursar_latency_seconds", "worker" => W::NAME);
        let now = OffsetDateTime::now_utc();
        for received_at in items.iter().filter_map(|item| self.worker.received_at(item)) {
            latency.record((now - received_at).as_seconds_f64().max(0.0));
        }
    }

    /// Orders a batch by shards; returns each part's shard and how many items it has. Items without a key are one part
    /// that waits for nobody.
    fn split(&self, batch: &mut Batch<W::Item>) -> Vec<(Option<usize>, usize)> {
        let shards = self.shards.len() as u64;
        let shard = |item: &W::Item| self.worker.key(item).map(|key| (key % shards) as usize);
        let (items, origins) = (std::mem::take(&mut batch.items), std::mem::take(&mut batch.origins));
        let mut placed: Vec<(Option<usize>, W::Item, usize)> =
            items.into_iter().zip(origins).map(|(item, origin)| (shard(&item), item, origin)).collect();
        placed.sort_by_key(|(shard, ..)| *shard);
        let parts = placed.chunk_by(|a, b| a.0 == b.0).map(|part| (part[0].0, part.len())).collect();
        (batch.items, batch.origins) = placed.into_iter().map(|(_, item, origin)| (item, origin)).unzip();
        parts
    }

    async fn decide_all(
        &self,
        items: &[W::Item],
        parts: &[(Option<usize>, usize)],
        tried: Option<&Tried>,
    ) -> Result<Vec<Ruling>, Stop> {
        let mut rest = items;
        let parts = parts.iter().map(|(shard, count)| {
            let (part, others) = rest.split_at(*count);
            rest = others;
            self.decide(*shard, part, tried)
        });
        Ok(try_join_all(parts.collect::<Vec<_>>()).await?.into_iter().flatten().collect())
    }

    /// Decides a part of a batch in as few transactions as it takes: what fails is split until the culprit stands alone.
    async fn decide(
        &self,
        shard: Option<usize>,
        items: &[W::Item],
        tried: Option<&Tried>,
    ) -> Result<Vec<Ruling>, Stop> {
        let mut rulings = Vec::with_capacity(items.len());
        let mut parts = vec![items];
        let mut delays = Delays::for_servers();
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            match self.attempt(shard, part, tried.is_some()).await {
                Ok(verdicts) => {
                    delays.reset();
                    rulings.extend(verdicts.into_iter().map(Ruling::from));
                }
                Err(Failure { fate: Fate::Transient, why, .. }) => {
                    let delay = delays.next_delay();
                    tracing::warn!(worker = W::NAME, why, retry_ms = delay.as_millis() as u64, "paused");
                    parts.push(part);
                    if let Some(tried) = tried {
                        tried.pause(&self.context.pool).await;
                    }
                    tokio::select! {
                        () = self.context.stop.cancelled() => return Err(Stop),
                        () = tokio::time::sleep(delay) => {}
                    }
                    if let Some(tried) = tried {
                        tried.resume(&self.context.pool, &self.context.stop).await?;
                    }
                }
                Err(failure) if part.len() == 1 => rulings.push(Ruling::Failed(failure)),
                Err(Failure { fate: Fate::Poison(_) | Fate::Hung | Fate::Unknown, why, .. }) => {
                    tracing::warn!(worker = W::NAME, why, facts = part.len(), "batch split");
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(rulings)
    }

    /// One transaction: decide, publish what must be out before it, commit, publish what was stored.
    /// What is tried gives way: a wait for somebody's lock is none of its doing, and a process that is ended meanwhile must
    /// not be counted against it.
    async fn attempt(
        &self,
        shard: Option<usize>,
        items: &[W::Item],
        is_tried: bool,
    ) -> Result<Vec<Verdict>, Failure> {
        let turn = match shard {
            Some(shard) => Some(self.shards[shard].lock().await),
            None => None,
        };
        let _step = self.context.health.step(&self.name, STEP_LIMITS * self.context.time_limit);
        let begin = if is_tried { Work::giving_way } else { Work::new };
        let mut work = begin(self.context.pool.clone(), OffsetDateTime::now_utc());
        let mut stage = Stage::start::<W>();
        let limited = tokio::time::timeout(self.context.time_limit, self.worker.handle(&mut work, items));
        let handled = AssertUnwindSafe(limited).catch_unwind();
        // The answer of a host that the database has left may never come.
        let handled = match db::unless_moved(&self.context.pool, handled).await {
            Ok(handled) => handled,
            Err(moved) => return Err(self.failure(&moved).await),
        };
        let settled = match handled {
            Ok(Ok(Ok(settled))) => settled,
            Ok(Ok(Err(error))) => {
                self.abandon(work).await;
                return Err(self.failure(&error).await);
            }
            Ok(Err(_)) => {
                drop(work);
                return Err(self.hung(format!("it took longer than {:?}", self.context.time_limit)).await);
            }
            Err(panic) => return Err(Failure::panic::<W>(&*panic)),
        };
        if settled.verdicts.len() != items.len() {
            let why = "it did not give one verdict for each item".to_owned();
            return Err(Failure { fate: Fate::Unknown, code: code::UNKNOWN, why });
        }
        stage.ends("decide");
        if let Err(error) = self.context.publisher.publish_all(settled.forward).await {
            self.abandon(work).await;
            return Err(Failure::transient(error));
        }
        stage.ends("forward");
        metrics::counter!("bursar_statements_total", "worker" => W::NAME).increment(work.statements());
        // Whether it holds is not known where no answer comes: it is done again, and whatever did hold is a repeat.
        let committed = db::within(self.context.time_limit, "committing", work.commit());
        let committed = db::unless_moved(&self.context.pool, committed).await;
        if let Err(error) = committed.and_then(|committed| committed) {
            return Err(self.failure(&error).await);
        }
        drop(turn);
        stage.ends("commit");
        if let Some(announcement) = settled.announce {
            self.announce(announcement).await;
        }
        stage.ends("announce");
        Ok(settled.verdicts)
    }

    async fn abandon(&self, work: Work) {
        let abandoned = async {
            work.abandon().await;
            Ok(())
        };
        if let Err(error) = db::within(self.context.time_limit, "rolling back", abandoned).await {
            tracing::warn!(worker = W::NAME, %error, "a transaction is left to the server");
        }
    }

    async fn failure(&self, error: &impl Fated) -> Failure {
        let why = chain(error);
        match error.fate() {
            Fate::Poison(code) => Failure { fate: Fate::Poison(code), code, why },
            Fate::Hung => self.hung(why).await,
            fate @ (Fate::Transient | Fate::Unknown) => Failure { fate, code: code::UNKNOWN, why },
        }
    }

    /// A batch that took too long: nobody's fault but the database's where that does not answer either.
    async fn hung(&self, why: String) -> Failure {
        match db::answers(&self.context.pool, DATABASE_PATIENCE).await {
            true => Failure { fate: Fate::Unknown, code: code::TIME_LIMIT, why },
            false => {
                let why = format!("{why}, and the database does not answer");
                Failure { fate: Fate::Transient, code: code::UNKNOWN, why }
            }
        }
    }

    /// Publishes committed events. What fails here stays in the outbox, and its sweeper publishes it.
    async fn announce(&self, announcement: Announcement) {
        let published = self.context.publisher.publish_all(announcement.messages).await;
        let settled = match published {
            Ok(()) => {
                let settled = settle_outbox(&self.context.pool, announcement.row);
                let settled = db::within(self.context.time_limit, "deleting an outbox row", settled).await;
                settled.map_err(|error| chain(&error))
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = settled {
            tracing::warn!(worker = W::NAME, why, outbox = %announcement.row, "left to the outbox sweeper");
        }
    }
}

/// The lane was asked to stop before it could settle: nothing is acknowledged, everything comes again.
pub(super) struct Stop;

impl From<Stop> for Ended {
    fn from(Stop: Stop) -> Self {
        Ended::Stopped
    }
}

struct Failure {
    fate: Fate,
    /// Machine-readable: the code of the dead letter that may come of it.
    code: &'static str,
    why: String,
}

impl Failure {
    fn panic<W: Worker>(panic: &(dyn std::any::Any + Send)) -> Self {
        metrics::counter!("bursar_panics_total", "worker" => W::NAME).increment(1);
        let why = format!("it panicked: {}", panic_text(panic));
        Self { fate: Fate::Unknown, code: code::PANIC, why }
    }

    /// A message that the broker does not take now it may take later; also an unroutable one, once an operator has
    /// mended the topology.
    fn transient(error: PublishError) -> Self {
        Self { fate: Fate::Transient, code: code::UNKNOWN, why: error.to_string() }
    }
}

impl From<Verdict> for Ruling {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Done(outcome) => Ruling::Done(outcome),
            Verdict::Dead { code, reason } => {
                Ruling::Failed(Failure { fate: Fate::Poison(code), code, why: reason })
            }
        }
    }
}

fn delivered(delivery: Option<lapin::Result<Delivery>>) -> Result<Delivery, Ended> {
    match delivery {
        Some(Ok(delivery)) => Ok(delivery),
        Some(Err(error)) => Err(Ended::Lost(error.to_string())),
        // The server cancelled the consumer: its queue was deleted, or an acknowledgement took too long.
        None => Err(Ended::Lost("the server cancelled the consumer".to_owned())),
    }
}

/// A message that is unreadable as a whole.
fn whole<I>(message: &Incoming, code: &'static str, reason: String) -> Decoded<I> {
    Decoded::Bad { body: message.body.clone(), content_type: None, code, reason }
}

async fn settle_outbox(pool: &db::Pool, row: Uuid) -> Result<(), db::Error> {
    use db::Doing;
    let mut connection = pool.acquire().await.doing("taking a connection")?;
    db::outbox::settled(&mut connection, row).await
}

fn chain(error: &dyn std::error::Error) -> String {
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
