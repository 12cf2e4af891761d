//! The task that owns the publisher's channel.

use super::error::{PublishError, Published};
use super::window::{WINDOW, confirm_window, is_objection};
use crate::backoff::Delays;
use crate::connection::Broker;
use crate::error::BrokerError;
use crate::message::Message;
use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Messages of one caller, who waits for their outcomes.
pub(super) struct PublishRequest {
    pub messages: Vec<Message>,
    pub done: oneshot::Sender<Vec<Published>>,
}

/// The task that publishes. It ends when the last handle is dropped.
pub(super) struct Task {
    pub broker: Broker,
    pub confirm_timeout: Duration,
    pub inbox: mpsc::Receiver<PublishRequest>,
    pub connected: Arc<AtomicBool>,
    pub channels: Arc<AtomicU64>,
    /// None while there is no connection.
    pub channel: Option<Channel>,
}

impl Task {
    pub async fn run(mut self) {
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
            let request = tokio::select! {
                request = self.inbox.recv() => request,
                () = tokio::time::sleep_until(next_attempt), if self.channel.is_none() => continue,
            };
            match request {
                Some(request) => self.serve(request).await,
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
    async fn serve(&mut self, first: PublishRequest) {
        let mut size = first.messages.len();
        let mut requests = vec![first];
        while size < WINDOW {
            let Ok(request) = self.inbox.try_recv() else { break };
            size += request.messages.len();
            requests.push(request);
        }
        let messages: Vec<&Message> = requests.iter().flat_map(|request| &request.messages).collect();
        let mut outcomes = Vec::with_capacity(messages.len());
        for window in messages.chunks(WINDOW) {
            outcomes.extend(self.publish_window(window).await);
        }
        let mut outcomes = outcomes.into_iter();
        for PublishRequest { messages, done } in requests {
            // A caller that has given up waiting has decided for itself.
            drop(done.send(outcomes.by_ref().take(messages.len()).collect()));
        }
    }

    async fn publish_window(&mut self, window: &[&Message]) -> Vec<Published> {
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
