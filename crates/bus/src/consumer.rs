//! The loop that runs a worker: take a batch, decide it in one transaction, commit, publish, acknowledge.
//!
//! A *lane* is one consumer on one channel. It takes what is there, up to a limit, and settles it before it takes more;
//! several lanes run side by side, so that one waits for the broker while another works in the database. Where items of
//! one [`Worker::key`] would wait for each other's locks, the lanes split their batches by it into as many *shards* as
//! there are lanes, and settle one part of a shard at a time.
//!
//! After every batch: each fact in it is committed, or dead-lettered and confirmed, and only then is the delivery that
//! brought it acknowledged, all of the batch with one `multiple` acknowledgement. A crash at any point repeats, never
//! loses. Errors are treated by their [`Fate`]; a panic and a time limit exceeded count as unknown.

use crate::backoff::Delays;
use crate::connection::{Broker, BrokerError};
use crate::fate::{Fate, Fated};
use crate::message::{Incoming, Message, header};
use crate::publisher::{PublishError, Publisher};
use crate::topology::{Namespace, exchange};
use db::Work;
use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A batch is taken up once it holds this many facts for each of its transactions. Larger batches gain little and double the
/// latency.
pub const BATCH_FACTS: usize = 500;

/// A batch of large messages is taken up once it holds this many bytes.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// How long a batch that is not full waits for more. Every batch costs a commit and a round of confirms, so many small ones
/// cost more CPU, and under load more latency, than this wait.
const LINGER: Duration = Duration::from_millis(5);

/// A batch that takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Headers travel in one frame of 128 KiB, and the broker ends the connection over a larger one: what a dead letter says
/// of itself and what it takes over from its message together stay well below.
const REASON_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 64 * 1024;

/// A database that does not answer the simplest question within this is away.
const DATABASE_PATIENCE: Duration = Duration::from_secs(3);

/// What a worker is: a queue, a message type, an error type that states each error's fate, and one function over a
/// batch inside a transaction. It never acknowledges, sleeps, publishes or reads the clock itself.
pub trait Worker: Send + Sync + 'static {
    /// Its name in metrics, logs and dead letters.
    const NAME: &'static str;
    /// Messages delivered and not acknowledged, per lane: the bound of what is in memory.
    const PREFETCH: u16;

    type Item: Send + Sync;
    type Error: Fated;

    /// The queue it reads, without the namespace.
    fn queue(&self) -> &'static str;

    /// What a message holds: one fact or many, each readable or not by itself.
    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<Self::Item>>;

    /// One item as a message of its own: content type and body, for a dead letter out of a message that held several.
    fn encode(&self, item: &Self::Item) -> (&'static str, Vec<u8>);

    /// When Bursar first held the item, for latencies.
    fn received_at(&self, item: &Self::Item) -> Option<OffsetDateTime>;

    /// What the item works on: items of one key are settled one transaction after another, those of different keys side by
    /// side. A matter of speed alone, for the database's locks hold in any case. Nothing: it stands in nobody's way.
    fn key(&self, _item: &Self::Item) -> Option<u64> {
        None
    }

    /// Decides a batch. One verdict for each item, in their order. Nothing it did holds unless all of it succeeded.
    fn handle(
        &self,
        work: &mut Work,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Settled, Self::Error>> + Send;
}

pub enum Decoded<I> {
    Item(I),
    /// Not readable: dead-lettered as it is. A part of a message has a content type of its own.
    Bad {
        body: Vec<u8>,
        content_type: Option<&'static str>,
        code: &'static str,
        reason: String,
    },
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Settled; the outcome is counted under this name.
    Done(&'static str),
    /// Given up on.
    Dead { code: &'static str, reason: String },
}

/// What a worker made of a batch.
#[derive(Debug, Default)]
pub struct Settled {
    pub verdicts: Vec<Verdict>,
    /// Published and confirmed *before* the transaction commits: a crash in between repeats them.
    pub forward: Vec<Message>,
    /// Published *after* the transaction has committed them to the outbox.
    pub announce: Option<Announcement>,
}

/// Events that the transaction stored, and the outbox row that stands for them until they are published.
#[derive(Debug)]
pub struct Announcement {
    pub row: Uuid,
    pub messages: Vec<Message>,
}

/// What a lane works with.
#[derive(Clone)]
pub struct Context {
    pub namespace: Namespace,
    pub consume: Broker,
    pub publisher: Publisher,
    pub pool: db::Pool,
    pub health: Health,
    pub stop: CancellationToken,
}

/// Which lanes have a consumer now; readiness is all of them.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, bool>>>);

impl Health {
    fn set(&self, lane: &str, consuming: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(lane.to_owned(), consuming);
    }

    /// Whether any lane has ever had a consumer.
    pub fn has_started(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The lanes that have no consumer.
    pub fn idle(&self) -> Vec<String> {
        let lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.iter().filter(|(_, consuming)| !**consuming).map(|(lane, _)| lane.clone()).collect()
    }
}

/// Runs `lanes` lanes of a worker until the context's token is cancelled and their batches in hand are settled.
pub async fn run<W: Worker>(worker: Arc<W>, lanes: usize, context: Context) {
    let shards: Arc<[Shard]> = (0..lanes).map(|_| Shard::default()).collect();
    let lanes = (0..lanes).map(|number| {
        let context = Context { publisher: context.publisher.sibling(), ..context.clone() };
        let name = format!("{}.{number}", worker.queue());
        let lane = Lane { worker: worker.clone(), context, name, shards: shards.clone() };
        tokio::spawn(lane.supervise())
    });
    for lane in lanes.collect::<Vec<_>>() {
        if let Err(error) = lane.await {
            tracing::error!(worker = W::NAME, %error, "a lane ended by a panic outside its worker");
        }
    }
}

/// Held while a part of the shard is in the database.
type Shard = tokio::sync::Mutex<()>;

struct Lane<W> {
    worker: Arc<W>,
    context: Context,
    name: String,
    /// Shared by the worker's lanes.
    shards: Arc<[Shard]>,
}

/// Why a lane's consumer is over.
enum Ended {
    /// It was asked to stop, and everything it had taken up is settled.
    Stopped,
    /// The consumer or its channel is gone.
    Lost(String),
}

/// A batch as it was taken: readable items with the message each came in, and the others.
struct Batch<I> {
    messages: Vec<(Incoming, usize)>,
    items: Vec<I>,
    origins: Vec<usize>,
    bad: Vec<Dead>,
    bytes: usize,
    last_tag: u64,
}

/// A message to be dead-lettered: the body, out of which message it came, why.
struct Dead {
    origin: usize,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    code: &'static str,
    reason: String,
}

impl<W: Worker> Lane<W> {
    /// Builds the consumer, and builds it anew whenever it is lost.
    async fn supervise(self) {
        let mut delays = Delays::for_servers();
        while !self.context.stop.is_cancelled() {
            let started = Instant::now();
            let ended = self.consume().await;
            self.context.health.set(&self.name, false);
            let why = match ended {
                Ok(Ended::Stopped) => return,
                Ok(Ended::Lost(why)) => why,
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

    async fn consume(&self) -> Result<Ended, BrokerError> {
        let channel = self.context.consume.channel().await?;
        // Without a limit the client would buffer the whole queue in memory.
        channel.basic_qos(W::PREFETCH, BasicQosOptions::default()).await?;
        let queue = self.context.namespace.name(self.worker.queue());
        let tag = format!("{}-{}", self.name, Uuid::now_v7());
        let options = BasicConsumeOptions::default();
        let mut consumer = channel
            .basic_consume(queue.as_str().into(), tag.as_str().into(), options, FieldTable::default())
            .await?;
        self.context.health.set(&self.name, true);
        tracing::info!(worker = W::NAME, lane = self.name, queue, "consuming");
        let ended = self.work_off(&channel, &mut consumer).await;
        if let Ok(Ended::Stopped) = ended {
            // What was delivered and not taken up goes back with the closing channel, uncounted.
            drop(channel.basic_cancel(tag.as_str().into(), BasicCancelOptions::default()).await);
            Broker::close_channel(channel).await;
        }
        ended
    }

    async fn work_off(&self, channel: &Channel, consumer: &mut Consumer) -> Result<Ended, BrokerError> {
        loop {
            let batch = match self.take(consumer).await {
                Ok(batch) => batch,
                Err(ended) => return Ok(ended),
            };
            let last_tag = batch.last_tag;
            if self.settle(batch).await.is_err() {
                return Ok(Ended::Stopped);
            }
            channel.basic_ack(last_tag, BasicAckOptions { multiple: true }).await?;
        }
    }

    /// Waits for a first delivery, then takes what is there.
    async fn take(&self, consumer: &mut Consumer) -> Result<Batch<W::Item>, Ended> {
        let first = tokio::select! {
            biased;
            () = self.context.stop.cancelled() => return Err(Ended::Stopped),
            first = consumer.next() => first,
        };
        let mut batch = Batch {
            messages: Vec::new(),
            items: Vec::new(),
            origins: Vec::new(),
            bad: Vec::new(),
            bytes: 0,
            last_tag: 0,
        };
        self.add(&mut batch, first)?;
        let deadline = Instant::now() + LINGER;
        // Items with a key fill a transaction for each shard. More messages than the prefetch do not come.
        let is_keyed = batch.items.first().is_some_and(|item| self.worker.key(item).is_some());
        let facts_max = if is_keyed { BATCH_FACTS * self.shards.len() } else { BATCH_FACTS };
        let messages_max = facts_max.min(W::PREFETCH.into());
        while batch.items.len() < facts_max
            && batch.messages.len() < messages_max
            && batch.bytes < BATCH_BYTES
        {
            match tokio::time::timeout_at(deadline, consumer.next()).await {
                Ok(next) => self.add(&mut batch, next)?,
                Err(_) => break,
            }
        }
        Ok(batch)
    }

    fn add(
        &self,
        batch: &mut Batch<W::Item>,
        delivery: Option<lapin::Result<lapin::message::Delivery>>,
    ) -> Result<(), Ended> {
        let delivery = match delivery {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(Ended::Lost(error.to_string())),
            // The server cancelled the consumer: its queue was deleted, or an acknowledgement took too long.
            None => return Err(Ended::Lost("the server cancelled the consumer".to_owned())),
        };
        batch.last_tag = delivery.delivery_tag;
        let mut message = Incoming::from(delivery);
        let decoded = self.decode(&message);
        let origin = batch.messages.len();
        batch.bytes += message.body.len();
        let count = decoded.len();
        for entry in decoded {
            match entry {
                Decoded::Item(item) => {
                    batch.items.push(item);
                    batch.origins.push(origin);
                }
                Decoded::Bad { body, content_type, code, reason } => {
                    batch.bad.push(Dead { origin, content_type, body, code, reason });
                }
            }
        }
        if count > 1 {
            // Its items can be written out one by one; the whole is not needed any more.
            message.body = Vec::new();
        }
        batch.messages.push((message, count));
        Ok(())
    }

    /// A message that makes its decoder panic is a dead letter like any other.
    fn decode(&self, message: &Incoming) -> Vec<Decoded<W::Item>> {
        let decode = AssertUnwindSafe(|| self.worker.decode(message, OffsetDateTime::now_utc()));
        std::panic::catch_unwind(decode).unwrap_or_else(|panic| {
            let reason = format!("decoding it panicked: {}", panic_text(&*panic));
            vec![Decoded::Bad { body: message.body.clone(), content_type: None, code: "unknown", reason }]
        })
    }

    /// Settles every item of a batch. Fails only when it was asked to stop before it could.
    async fn settle(&self, mut batch: Batch<W::Item>) -> Result<(), Stop> {
        let parts = self.split(&mut batch);
        let Batch { messages, items, origins, mut bad, .. } = batch;
        let verdicts = self.decide_all(&items, &parts).await?;
        let mut outcomes: BTreeMap<&'static str, u64> = BTreeMap::new();
        for ((item, origin), verdict) in items.iter().zip(origins).zip(verdicts) {
            match verdict {
                Verdict::Done(outcome) => *outcomes.entry(outcome).or_default() += 1,
                Verdict::Dead { code, reason } => {
                    let (content_type, body) = match &messages[origin] {
                        (message, 1) => (None, message.body.clone()),
                        _ => {
                            let (content_type, body) = self.worker.encode(item);
                            (Some(content_type), body)
                        }
                    };
                    bad.push(Dead { origin, content_type, body, code, reason });
                }
            }
        }
        self.dead_letter(&messages, bad).await?;
        self.count(&items, outcomes);
        Ok(())
    }

    fn count(&self, items: &[W::Item], outcomes: BTreeMap<&'static str, u64>) {
        for (outcome, count) in outcomes {
            metrics::counter!("bursar_facts_total", "worker" => W::NAME, "outcome" => outcome)
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
    ) -> Result<Vec<Verdict>, Stop> {
        let mut rest = items;
        let parts = parts.iter().map(|(shard, count)| {
            let (part, others) = rest.split_at(*count);
            rest = others;
            self.decide(*shard, part)
        });
        Ok(try_join_all(parts.collect::<Vec<_>>()).await?.into_iter().flatten().collect())
    }

    /// Decides a part of a batch in as few transactions as it takes: what fails is split until the culprit stands alone.
    async fn decide(&self, shard: Option<usize>, items: &[W::Item]) -> Result<Vec<Verdict>, Stop> {
        let mut verdicts = Vec::with_capacity(items.len());
        let mut parts = vec![items];
        let mut delays = Delays::for_servers();
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            match self.attempt(shard, part).await {
                Ok(decided) => {
                    delays.reset();
                    verdicts.extend(decided);
                }
                Err(Failure { fate: Fate::Transient, why }) => {
                    let delay = delays.next_delay();
                    tracing::warn!(worker = W::NAME, why, retry_ms = delay.as_millis() as u64, "paused");
                    parts.push(part);
                    tokio::select! {
                        () = self.context.stop.cancelled() => return Err(Stop),
                        () = tokio::time::sleep(delay) => {}
                    }
                }
                Err(Failure { fate: Fate::Poison(code), why }) if part.len() == 1 => {
                    verdicts.push(Verdict::Dead { code, reason: why });
                }
                Err(Failure { fate: Fate::Unknown, why }) if part.len() == 1 => {
                    verdicts.push(Verdict::Dead { code: "unknown", reason: why });
                }
                Err(Failure { fate: Fate::Poison(_) | Fate::Unknown, why }) => {
                    tracing::warn!(worker = W::NAME, why, facts = part.len(), "batch split");
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(verdicts)
    }

    /// One transaction: decide, publish what must be out before it, commit, publish what was stored.
    async fn attempt(&self, shard: Option<usize>, items: &[W::Item]) -> Result<Vec<Verdict>, Failure> {
        let turn = match shard {
            Some(shard) => Some(self.shards[shard].lock().await),
            None => None,
        };
        let mut work = Work::new(self.context.pool.clone(), OffsetDateTime::now_utc());
        let mut stage = Stage::start::<W>();
        let handled =
            AssertUnwindSafe(tokio::time::timeout(TIME_LIMIT, self.worker.handle(&mut work, items)));
        let settled = match handled.catch_unwind().await {
            Ok(Ok(Ok(settled))) => settled,
            Ok(Ok(Err(error))) => {
                work.abandon().await;
                return Err(Failure { fate: error.fate(), why: chain(&error) });
            }
            Ok(Err(_)) => return Err(self.hung().await),
            Err(panic) => return Err(Failure::unknown(format!("it panicked: {}", panic_text(&*panic)))),
        };
        if settled.verdicts.len() != items.len() {
            return Err(Failure::unknown("it did not give one verdict for each item".to_owned()));
        }
        stage.ends("decide");
        if let Err(error) = self.context.publisher.publish_all(settled.forward).await {
            work.abandon().await;
            return Err(Failure::transient(error));
        }
        stage.ends("forward");
        metrics::counter!("bursar_statements_total", "worker" => W::NAME).increment(work.statements());
        work.commit().await.map_err(|error| Failure { fate: error.fate(), why: chain(&error) })?;
        drop(turn);
        stage.ends("commit");
        if let Some(announcement) = settled.announce {
            self.announce(announcement).await;
        }
        stage.ends("announce");
        Ok(settled.verdicts)
    }

    /// A batch that took too long: nobody's fault but the database's where that does not answer either.
    async fn hung(&self) -> Failure {
        let why = format!("it took longer than {} s", TIME_LIMIT.as_secs());
        match db::answers(&self.context.pool, DATABASE_PATIENCE).await {
            true => Failure::unknown(why),
            false => {
                Failure { fate: Fate::Transient, why: format!("{why}, and the database does not answer") }
            }
        }
    }

    /// Publishes committed events. What fails here stays in the outbox, and its sweeper publishes it.
    async fn announce(&self, announcement: Announcement) {
        let published = self.context.publisher.publish_all(announcement.messages).await;
        let settled = match published {
            Ok(()) => {
                settle_outbox(&self.context.pool, announcement.row).await.map_err(|error| chain(&error))
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = settled {
            tracing::warn!(worker = W::NAME, why, outbox = %announcement.row, "left to the outbox sweeper");
        }
    }

    /// Hands messages over to the dead-letter exchange; returns once every one of them is confirmed.
    async fn dead_letter(&self, messages: &[(Incoming, usize)], dead: Vec<Dead>) -> Result<(), Stop> {
        if dead.is_empty() {
            return Ok(());
        }
        for dead in &dead {
            metrics::counter!("bursar_dead_lettered_total", "worker" => W::NAME, "code" => dead.code)
                .increment(1);
            tracing::error!(
                worker = W::NAME,
                code = dead.code,
                // The reason may quote the message: it is in the letter, not in the log.
                message_id = messages[dead.origin].0.message_id,
                "dead letter"
            );
        }
        let mut letters: Vec<Message> =
            dead.into_iter().map(|dead| self.letter(&messages[dead.origin].0, dead)).collect();
        let mut delays = Delays::for_servers();
        while !letters.is_empty() {
            let outcomes = self.context.publisher.publish(letters.clone()).await;
            let mut kept = outcomes.iter().map(Result::is_err);
            letters.retain(|_| kept.next().unwrap_or(true));
            if let Some(error) = outcomes.into_iter().find_map(Result::err) {
                let delay = delays.next_delay();
                tracing::error!(worker = W::NAME, %error, retry_ms = delay.as_millis() as u64, "cannot dead-letter");
                tokio::select! {
                    () = self.context.stop.cancelled() => return Err(Stop),
                    () = tokio::time::sleep(delay) => {}
                }
            }
        }
        Ok(())
    }

    fn letter(&self, origin: &Incoming, dead: Dead) -> Message {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        // The broker's own headers would make a replay look like a cycle to it.
        let mut headers = origin.headers.clone();
        let mut room = HEADERS_MAX;
        headers.retain(|name, value| {
            let size = name.len() + value.len();
            // What the fleet says of a letter nobody else may say.
            let own = name.starts_with("x-") || name.starts_with("bursar-");
            let fits = !own && size <= room;
            room -= if fits { size } else { 0 };
            fits
        });
        let mut set = |name: &str, value: String| headers.insert(name.to_owned(), value);
        set(header::DEAD_WORKER, W::NAME.to_owned());
        set(header::DEAD_CODE, dead.code.to_owned());
        set(header::DEAD_REASON, shortened(dead.reason, REASON_MAX));
        set(header::DEAD_EXCHANGE, origin.exchange.clone());
        set(header::DEAD_ROUTING_KEY, origin.routing_key.clone());
        set(header::DEAD_AT, now.to_string());
        if let Some(user) = &origin.user_id {
            set(header::DEAD_USER, user.clone());
        }
        Message {
            exchange: self.context.namespace.name(exchange::DEAD),
            routing_key: W::NAME.to_owned(),
            message_id: origin.message_id.clone().unwrap_or_else(|| Uuid::now_v7().to_string()),
            content_type: dead
                .content_type
                .map(str::to_owned)
                .or_else(|| origin.content_type.clone())
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            headers,
            body: dead.body,
        }
    }
}

/// Times the stages of a batch: where a slow worker waits is the first question that is asked at night.
struct Stage {
    worker: &'static str,
    since: Instant,
}

impl Stage {
    fn start<W: Worker>() -> Self {
        Self { worker: W::NAME, since: Instant::now() }
    }

    fn ends(&mut self, name: &'static str) {
        let now = Instant::now();
        metrics::histogram!("bursar_stage_seconds", "worker" => self.worker, "stage" => name)
            .record(now - self.since);
        self.since = now;
    }
}

/// The lane was asked to stop before it could settle: nothing is acknowledged, everything comes again.
struct Stop;

struct Failure {
    fate: Fate,
    why: String,
}

impl Failure {
    fn unknown(why: String) -> Self {
        Self { fate: Fate::Unknown, why }
    }

    /// A message that the broker does not take now it may take later; also an unroutable one, once an operator has
    /// mended the topology.
    fn transient(error: PublishError) -> Self {
        Self { fate: Fate::Transient, why: error.to_string() }
    }
}

async fn settle_outbox(pool: &db::Pool, row: Uuid) -> Result<(), db::Error> {
    use db::Doing;
    let mut connection = pool.acquire().await.doing("taking a connection")?;
    db::outbox::settled(&mut connection, row).await
}

fn shortened(mut text: String, length_max: usize) -> String {
    if text.len() > length_max {
        text.truncate(text.floor_char_boundary(length_max));
        text.push_str(" (shortened)");
    }
    text
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

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
