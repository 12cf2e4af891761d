//! Messages as the outside sends and receives them.

use crate::Site;
use crate::facts::AT;
use crate::wait::eventually;
use ::facts::Sender;
use bus::{Incoming, exchange, header, queue};
use domain::Envelope;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;

/// A message as a stranger to the fleet publishes it, with any property there is.
#[derive(Debug, Clone, Default)]
pub struct Post {
    pub exchange: &'static str,
    pub routing_key: String,
    pub message_id: Option<String>,
    pub content_type: Option<String>,
    pub user_id: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Site {
    /// Publishes, and waits for the broker's confirm that it reached a queue.
    pub async fn post(&self, post: Post) {
        let channel = self.broker.channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let mut headers = FieldTable::default();
        for (name, value) in post.headers {
            headers.insert(name.as_str().into(), AMQPValue::LongString(value.as_str().into()));
        }
        let mut properties = BasicProperties::default().with_headers(headers);
        if let Some(content_type) = post.content_type {
            properties = properties.with_content_type(content_type.as_str().into());
        }
        if let Some(id) = post.message_id {
            properties = properties.with_message_id(id.as_str().into());
        }
        if let Some(user) = post.user_id {
            properties = properties.with_user_id(user.as_str().into());
        }
        let name = self.namespace.name(post.exchange);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm = channel
            .basic_publish(
                name.as_str().into(),
                post.routing_key.as_str().into(),
                options,
                &post.body,
                properties,
            )
            .await
            .expect("published");
        let confirmation = confirm.await.expect("an answer");
        assert!(
            matches!(confirmation, Confirmation::Ack(None)),
            "{name} {}: {confirmation:?}",
            post.routing_key
        );
        drop(channel.close(200, "done".into()).await);
    }

    /// Publishes facts to an exchange, packed as the fleet packs them.
    pub async fn state(&self, exchange: &str, facts: Vec<Envelope>) {
        let messages = ::facts::pack(&self.namespace, exchange, facts);
        self.publisher.publish_all(messages).await.expect("the site's broker takes facts");
    }

    /// Publishes facts to an exchange, each in a message of its own.
    pub async fn state_each(&self, exchange: &str, facts: Vec<Envelope>) {
        for fact in facts {
            self.state(exchange, vec![fact]).await;
        }
    }

    /// Takes every message that is in a queue now, by its name without the namespace.
    pub async fn take(&self, queue: &str) -> Vec<Incoming> {
        let channel = self.broker.channel().await.expect("a channel");
        let name: ShortString = self.namespace.name(queue).as_str().into();
        let mut taken = Vec::new();
        while let Some(got) =
            channel.basic_get(name.clone(), BasicGetOptions::default()).await.expect("an answer")
        {
            let tag = got.delivery_tag;
            taken.push(Incoming::from(got.delivery));
            channel.basic_ack(tag, BasicAckOptions::default()).await.expect("acknowledged");
        }
        drop(channel.close(200, "done".into()).await);
        taken
    }

    /// Takes every fact that is in a queue now, out of whatever batches they are in.
    pub async fn take_facts(&self, queue: &str) -> Vec<Envelope> {
        let taken = self.take(queue).await;
        let facts = taken.iter().flat_map(|message| ::facts::read(message, Sender::Fleet, AT));
        facts.map(|fact| fact.expect("the fleet passes on what it has read")).collect()
    }

    /// Takes every dead letter there is now.
    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        self.take(queue::DEAD_LETTERS).await.into_iter().map(DeadLetter::from).collect()
    }

    /// Waits for `count` dead letters and takes them.
    pub async fn dead_lettered(&self, count: usize) -> Vec<DeadLetter> {
        let mut letters = Vec::new();
        eventually(&format!("{count} dead letters"), async || {
            letters.extend(self.dead_letters().await);
            (letters.len() >= count).then_some(())
        })
        .await;
        assert_eq!(letters.len(), count, "{letters:#?}");
        letters
    }

    /// Collects every event from now on, like a subscriber with a queue of its own.
    pub async fn subscribe(&self) -> Events {
        let channel = self.broker.channel().await.expect("a channel");
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.expect("a queue");
        let events = self.namespace.name(exchange::EVENTS);
        channel
            .queue_bind(
                queue.name().clone(),
                events.as_str().into(),
                "#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("bound");
        Events::collect(channel, queue.name().clone()).await
    }
}

/// A message in the queue of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub worker: String,
    pub code: String,
    pub reason: String,
    pub message_id: Option<String>,
    pub content_type: Option<String>,
    /// All of them, by their name in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl From<Incoming> for DeadLetter {
    fn from(incoming: Incoming) -> Self {
        let header = |name: &str| incoming.headers.get(name).cloned().unwrap_or_default();
        Self {
            worker: header(header::DEAD_WORKER),
            code: header(header::DEAD_CODE),
            reason: header(header::DEAD_REASON),
            message_id: incoming.message_id.clone(),
            content_type: incoming.content_type.clone(),
            body: String::from_utf8_lossy(&incoming.body).into_owned(),
            headers: incoming.headers,
        }
    }
}

/// An event as a subscriber receives it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedEvent {
    pub id: String,
    pub kind: String,
    pub account: Option<String>,
    pub sequence: Option<u64>,
    pub data: Value,
}

impl ReceivedEvent {
    fn read(routing_key: &str, body: &[u8]) -> Self {
        let event: Value = serde_json::from_slice(body).expect("an event is JSON");
        let text = |field: &str| event[field].as_str().map(str::to_owned);
        let kind = text("type").expect("an event has a type");
        assert_eq!(kind, routing_key, "an event's routing key is its type");
        Self {
            id: text("id").expect("an event has an id"),
            kind,
            account: text("subject"),
            sequence: event["sequence"].as_u64(),
            data: event["data"].clone(),
        }
    }
}

/// Events as they come in.
pub struct Events {
    told: Arc<Mutex<Vec<ReceivedEvent>>>,
    // The consumer ends with its channel.
    _channel: Channel,
    task: JoinHandle<()>,
}

impl Events {
    async fn collect(channel: Channel, queue: ShortString) -> Self {
        use futures_util::StreamExt;
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
        let mut consumer =
            channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.expect("consuming");
        let told = Arc::new(Mutex::new(Vec::new()));
        let place = told.clone();
        let task = tokio::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                let told = ReceivedEvent::read(delivery.routing_key.as_str(), &delivery.data);
                lock(&place).push(told);
            }
        });
        Self { told, _channel: channel, task }
    }

    /// All events received so far, in the order of their arrival.
    pub fn told(&self) -> Vec<ReceivedEvent> {
        lock(&self.told).clone()
    }

    /// Waits until so many events have arrived, and returns them.
    pub async fn until(&self, count: usize) -> Vec<ReceivedEvent> {
        eventually(&format!("{count} events"), async || {
            let told = self.told();
            (told.len() >= count).then_some(told)
        })
        .await
    }

    /// Waits for an event that fits.
    pub async fn until_told(&self, what: &str, fits: impl Fn(&ReceivedEvent) -> bool) -> ReceivedEvent {
        eventually(what, async || self.told().into_iter().find(&fits)).await
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
