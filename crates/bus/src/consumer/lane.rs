//! One consumer on one channel: it takes a batch, settles it, acknowledges it. The consumer is built anew whenever it is lost.

use super::context::{Context, LaneContext};
use super::intake::take;
use super::losses::Losses;
use super::prefetch::Prefetch;
use super::settlement::settle;
use super::shards::Shards;
use super::source::{Ended, Source};
use super::stop::pause;
use super::worker::Worker;
use crate::backoff::Delays;
use crate::connection::Broker;
use crate::error::BrokerError;
use lapin::Channel;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// A consumer that served so long was no failed attempt: the next delay is a short one again.
const SERVED: Duration = Duration::from_secs(10);

pub(super) struct Lane<W> {
    lane: LaneContext<W>,
    /// A connection of the worker's lanes alone.
    apart: Broker,
}

impl<W: Worker> Lane<W> {
    /// A lane that does nothing yet.
    pub fn new(worker: Arc<W>, context: Context, number: usize, shards: Shards, apart: Broker) -> Self {
        Self { lane: LaneContext::new(worker, context, number, shards), apart }
    }

    /// Builds the consumer, and builds it anew whenever it is lost, until the lane is asked to stop.
    pub async fn supervise(self) {
        let mut delays = Delays::for_servers();
        let mut losses = Losses::default();
        let context = &self.lane.context;
        while !context.stop.is_cancelled() {
            let started = Instant::now();
            let broker = if losses.are_many() { &self.apart } else { &context.consume };
            let ended = self.consume(broker).await;
            context.health.consumes(&self.lane.name, false);
            let Some(why) = self.why_lost(ended, &mut losses) else { continue };
            if started.elapsed() > SERVED {
                delays.reset();
            }
            let delay = delays.next_delay();
            let (lane, retry_ms) = (self.lane.name.as_str(), delay.as_millis() as u64);
            tracing::warn!(worker = W::NAME, lane, why, retry_ms, "consumer lost");
            if pause(delay, &context.stop).await.is_err() {
                return;
            }
        }
    }

    /// Why there is no consumer; nothing where it ended as it was asked to.
    fn why_lost(&self, ended: Result<Ended, BrokerError>, losses: &mut Losses) -> Option<String> {
        match ended {
            Ok(Ended::Stopped | Ended::Resized) => None,
            Ok(Ended::Lost(why)) => {
                self.lane.context.health.lost(&self.lane.name);
                losses.note();
                Some(why)
            }
            Err(error) => Some(error.to_string()),
        }
    }

    /// Consumes on one channel, with one consumer after another where another prefetch fits better.
    async fn consume(&self, broker: &Broker) -> Result<Ended, BrokerError> {
        let channel = broker.channel().await?;
        let mut prefetch = Prefetch::of::<W>();
        loop {
            match self.consume_with(&channel, &mut prefetch).await {
                Ok(Ended::Resized) => {}
                Ok(ended) => return Ok(ended),
                // There was a channel: whatever the error is, the channel is lost.
                Err(error) if error.is_transient() => return Ok(Ended::Lost(error.to_string())),
                Err(error) => return Err(error),
            }
        }
    }

    async fn consume_with(&self, channel: &Channel, prefetch: &mut Prefetch) -> Result<Ended, BrokerError> {
        let (context, lane, queue) = (&self.lane.context, &*self.lane.name, self.lane.queue());
        let tag = format!("{lane}-{}", Uuid::now_v7());
        let mut source = Source::open(channel, &context.namespace, &queue, &tag, prefetch.messages).await?;
        context.health.consumes(lane, true);
        tracing::info!(worker = W::NAME, lane, queue, prefetch = prefetch.messages, "consuming");
        let ended = self.work_off(&mut source, prefetch).await;
        if let Ok(Ended::Stopped) = ended {
            source.close().await;
        }
        ended
    }

    /// One batch after another, until the consumer is over.
    async fn work_off(&self, source: &mut Source, prefetch: &mut Prefetch) -> Result<Ended, BrokerError> {
        loop {
            let batch = match take(&self.lane, source, prefetch.messages).await {
                Ok(batch) => batch,
                Err(ended) => return Ok(ended),
            };
            let last_tag = batch.last_tag;
            if prefetch.adapts_to(batch.largest) {
                source.drain().await?;
            }
            if settle(&self.lane, batch).await.is_err() {
                return Ok(Ended::Stopped);
            }
            source.acknowledge(last_tag).await?;
            self.lane.context.health.settled(&self.lane.name);
        }
    }
}
