//! The publisher: pipelined confirms, every outcome handled.
//!
//! One task owns one channel, because two tasks on one confirm channel can number their messages otherwise than the
//! broker does. It publishes a window of messages without waiting in between, then awaits every confirm of the window:
//! a returned message may be attached to any confirm of its window, so returns are matched by message id, and a window
//! is complete only when all of it is known. Callers that come meanwhile share the next window.

use crate::backoff::Delays;
use crate::connection::Broker;
use crate::error::BrokerError;
use crate::message::Message;
use futures_util::future::{MaybeDone, maybe_done};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Channel, Confirmation, ErrorKind};
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Messages in flight on the channel. A `multiple` confirm costs the client a scan of them, so more is not faster.
const WINDOW: usize = 512;

/// Callers that may wait for the next window before they are held back.
const JOBS: usize = 256;

/// Why a message is not known to be in the broker's hands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It may or may not have arrived.
    #[error("RabbitMQ is away: {0}")]
    Unavailable(String),
    /// One of the messages that shared the connection just then is at fault. It may or may not have arrived.
    #[error("RabbitMQ ended the connection or channel over what was published: {0}")]
    Objected(String),
    /// The broker took it and had no queue for it: the topology is not what it should be.
    #[error("no queue is bound to {exchange} for {routing_key}: run `bursar topology --check`")]
    Unroutable { exchange: String, routing_key: String },
    #[error("RabbitMQ refused the message: a queue is full or failing")]
    Refused,
}

type Outcome = Result<(), PublishError>;

struct Job {
    messages: Vec<Message>,
    done: oneshot::Sender<Vec<Outcome>>,
}

/// A handle to the task that publishes. It ends when the last handle is dropped.
#[derive(Clone)]
pub struct Publisher {
    jobs: mpsc::Sender<Job>,
    connected: Arc<AtomicBool>,
    channels: Arc<AtomicU64>,
    broker: Broker,
    confirm_timeout: Duration,
}

impl Publisher {
    /// `confirm_timeout`: a broker that does not confirm within this is treated as away, and its channel is left.
    pub fn spawn(broker: Broker, confirm_timeout: Duration) -> Self {
        let (jobs, inbox) = mpsc::channel(JOBS);
        let connected = Arc::new(AtomicBool::new(false));
        let channels = Arc::new(AtomicU64::new(0));
        let task = Task {
            broker: broker.clone(),
            confirm_timeout,
            inbox,
            connected: connected.clone(),
            channels: channels.clone(),
            channel: None,
        };
        tokio::spawn(task.run());
        Self { jobs, connected, channels, broker, confirm_timeout }
    }

    /// A publisher of the same kind on a channel of its own: its windows do not wait for this one's.
    pub fn sibling(&self) -> Self {
        Self::spawn(self.broker.clone(), self.confirm_timeout)
    }

    /// Publishes all of them and waits until each one's outcome is known; outcomes in the order of the messages.
    pub async fn publish(&self, messages: Vec<Message>) -> Vec<Outcome> {
        if messages.is_empty() {
            return Vec::new();
        }
        let count = messages.len();
        let (done, outcomes) = oneshot::channel();
        let gone = || vec![Err(PublishError::Unavailable("the publisher has ended".to_owned())); count];
        if self.jobs.send(Job { messages, done }).await.is_err() {
            return gone();
        }
        outcomes.await.unwrap_or_else(|_| gone())
    }

    /// Publishes all of them; the first outcome that is not a confirm is the error of all.
    pub async fn publish_all(&self, messages: Vec<Message>) -> Outcome {
        self.publish(messages).await.into_iter().collect()
    }

    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// How many channels it has opened so far.
    pub fn channels(&self) -> u64 {
        self.channels.load(Ordering::Relaxed)
    }
}

struct Task {
    broker: Broker,
    confirm_timeout: Duration,
    inbox: mpsc::Receiver<Job>,
    connected: Arc<AtomicBool>,
    channels: Arc<AtomicU64>,
    channel: Option<Channel>,
}

impl Task {
    async fn run(mut self) {
        let mut delays = Delays::for_servers();
        let mut next_attempt = Instant::now();
        loop {
            if self.channel.is_none() && Instant::now() >= next_attempt {
                match self.open().await {
                    Ok(()) => delays.reset(),
                    Err(error) => {
                        let delay = delays.next_delay();
                        tracing::warn!(%error, retry_ms = delay.as_millis() as u64, "cannot publish");
                        next_attempt = Instant::now() + delay;
                    }
                }
            }
            let job = tokio::select! {
                job = self.inbox.recv() => job,
                () = tokio::time::sleep_until(next_attempt), if self.channel.is_none() => continue,
            };
            match job {
                Some(job) => self.serve(job).await,
                None => break,
            }
        }
        if let Some(channel) = self.channel.take() {
            Broker::close_channel(channel).await;
        }
    }

    async fn open(&mut self) -> Result<(), BrokerError> {
        let channel = self.broker.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        self.channel = Some(channel);
        self.channels.fetch_add(1, Ordering::Relaxed);
        self.connected.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Serves a caller, and with it those whose messages fit the same window.
    async fn serve(&mut self, first: Job) {
        let mut size = first.messages.len();
        let mut jobs = vec![first];
        while size < WINDOW {
            let Ok(job) = self.inbox.try_recv() else { break };
            size += job.messages.len();
            jobs.push(job);
        }
        let messages: Vec<&Message> = jobs.iter().flat_map(|job| &job.messages).collect();
        let mut outcomes = Vec::with_capacity(messages.len());
        for window in messages.chunks(WINDOW) {
            outcomes.extend(self.publish_window(window).await);
        }
        let mut outcomes = outcomes.into_iter();
        for Job { messages, done } in jobs {
            // A caller that has given up waiting has decided for itself.
            drop(done.send(outcomes.by_ref().take(messages.len()).collect()));
        }
    }

    async fn publish_window(&mut self, window: &[&Message]) -> Vec<Outcome> {
        let all = |error: PublishError| vec![Err(error); window.len()];
        let away = |why: String| all(PublishError::Unavailable(why));
        let Some(channel) = &self.channel else { return away("not connected".to_owned()) };
        let outcome = tokio::time::timeout(self.confirm_timeout, confirm_window(channel, window)).await;
        match outcome {
            Ok(Ok(outcomes)) => {
                // A channel that met a queue without a leader goes on refusing long after there is one again: a new one looks
                // for itself. Every confirm of this one is known, so nothing is left behind on it.
                if outcomes.contains(&Err(PublishError::Refused)) {
                    self.leave_channel();
                }
                outcomes
            }
            Ok(Err(error)) => {
                self.leave_channel();
                match is_objection(&error) {
                    true => all(PublishError::Objected(error.to_string())),
                    false => away(error.to_string()),
                }
            }
            // Confirms that nobody awaits any more would pile up in the channel: it is left with them.
            Err(_) => {
                self.leave_channel();
                away(format!("no confirm within {} ms", self.confirm_timeout.as_millis()))
            }
        }
    }

    fn leave_channel(&mut self) {
        self.connected.store(false, Ordering::Relaxed);
        if let Some(channel) = self.channel.take() {
            tokio::spawn(Broker::close_channel(channel));
        }
    }
}

/// An error that ends the connection and is not an operator's wish; or the channel, over what a message says of itself: one that
/// is larger than the broker takes.
fn is_objection(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    match error.kind() {
        AMQPErrorKind::Hard(hard) => *hard != AMQPHardError::CONNECTIONFORCED,
        AMQPErrorKind::Soft(soft) => *soft == AMQPSoftError::PRECONDITIONFAILED,
    }
}

async fn confirm_window(channel: &Channel, window: &[&Message]) -> lapin::Result<Vec<Outcome>> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut sends: Vec<Pin<Box<MaybeDone<_>>>> = window
        .iter()
        .map(|message| {
            Box::pin(maybe_done(channel.basic_publish(
                message.exchange.as_str().into(),
                message.routing_key.as_str().into(),
                options,
                &message.body,
                message.properties(),
            )))
        })
        .collect();
    // The first poll numbers a message and queues its frames: once each, in order, none waiting for another.
    for send in &mut sends {
        let _ = futures_util::poll!(send.as_mut());
    }
    let mut confirms = Vec::with_capacity(window.len());
    for mut send in sends {
        send.as_mut().await;
        confirms.extend(send.as_mut().take_output());
    }
    let mut confirmations = Vec::with_capacity(window.len());
    for confirm in confirms {
        confirmations.push(confirm?.await?);
    }
    Ok(outcomes(window, confirmations))
}

/// Matches returned messages to what was published by their id: the confirm they hang on may be another's.
fn outcomes(window: &[&Message], confirmations: Vec<Confirmation>) -> Vec<Outcome> {
    let mut returned = HashSet::new();
    let mut outcomes = Vec::with_capacity(window.len());
    for confirmation in confirmations {
        let (outcome, message) = match confirmation {
            Confirmation::Ack(message) => (Ok(()), message),
            Confirmation::Nack(message) => (Err(PublishError::Refused), message),
            // Only a channel without confirms answers so.
            Confirmation::NotRequested => {
                (Err(PublishError::Unavailable("confirms are off".to_owned())), None)
            }
        };
        outcomes.push(outcome);
        returned.extend(message.and_then(|message| {
            message.delivery.properties.message_id().as_ref().map(|id| id.as_str().to_owned())
        }));
    }
    if !returned.is_empty() {
        for (message, outcome) in window.iter().zip(&mut outcomes) {
            if returned.contains(&message.message_id) {
                *outcome = Err(PublishError::Unroutable {
                    exchange: message.exchange.clone(),
                    routing_key: message.routing_key.clone(),
                });
            }
        }
    }
    outcomes
}
