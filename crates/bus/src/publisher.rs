//! The publisher: pipelined confirms, every outcome handled.
//!
//! One task owns one channel, because two tasks on one confirm channel can number their messages otherwise than the
//! broker does. It publishes a window of messages without waiting in between, then awaits every confirm of the window:
//! a returned message may be attached to any confirm of its window, so returns are matched by message id, and a window
//! is complete only when all of it is known. Callers that come meanwhile share the next window.

mod error;
mod task;
mod window;

pub use error::PublishError;

use crate::connection::Broker;
use crate::message::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use task::{PublishRequest, Task};
use tokio::sync::{mpsc, oneshot};

/// Callers that may wait for the next window before they are held back.
const REQUESTS: usize = 256;

/// A handle to the task that publishes. It ends when the last handle is dropped.
#[derive(Clone)]
pub struct Publisher {
    requests: mpsc::Sender<PublishRequest>,
    connected: Arc<AtomicBool>,
    channels: Arc<AtomicU64>,
    broker: Broker,
    confirm_timeout: Duration,
}

impl Publisher {
    /// `confirm_timeout`: a broker that does not confirm within this is treated as away, and its channel is left.
    pub fn spawn(broker: Broker, confirm_timeout: Duration) -> Self {
        let (requests, inbox) = mpsc::channel(REQUESTS);
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
        Self { requests, connected, channels, broker, confirm_timeout }
    }

    /// A publisher of the same kind on a channel of its own: its windows do not wait for this one's.
    pub fn sibling(&self) -> Self {
        Self::spawn(self.broker.clone(), self.confirm_timeout)
    }

    /// Publishes all of them and waits until each one's outcome is known; outcomes in the order of the messages. A message that
    /// failed may have arrived nevertheless, see [`PublishError`].
    pub async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), PublishError>> {
        if messages.is_empty() {
            return Vec::new();
        }
        let count = messages.len();
        let (done, outcomes) = oneshot::channel();
        let gone = || vec![Err(PublishError::Unavailable("the publisher has ended".to_owned())); count];
        if self.requests.send(PublishRequest { messages, done }).await.is_err() {
            return gone();
        }
        outcomes.await.unwrap_or_else(|_| gone())
    }

    /// Publishes all of them.
    ///
    /// # Errors
    /// The first outcome that is not a confirm. The others may be with the broker.
    pub async fn publish_all(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        self.publish(messages).await.into_iter().collect()
    }

    /// Whether it has a channel just now.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// How many channels it has opened so far.
    pub fn channels(&self) -> u64 {
        self.channels.load(Ordering::Relaxed)
    }
}
