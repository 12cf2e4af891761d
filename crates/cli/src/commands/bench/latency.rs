//! Latency at a given load: from publishing a fact until a subscriber holds its event.

use super::figures::{Latency, round};
use super::load;
use crate::session::{CONFIRM_TIMEOUT, Session};
use crate::subscriber::Subscriber;
use anyhow::Result;
use bus::{Message, Publisher};
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// No event for so long: there are no more.
const SILENCE: Duration = Duration::from_secs(3);

/// How often facts are published; each time as many as the load asks for.
const TICK: Duration = Duration::from_millis(5);

pub async fn measure(
    session: &Session,
    load: &mut load::Load,
    rate: f64,
    length: Duration,
) -> Result<Latency> {
    let broker = session.broker("bench latency");
    let mut subscriber = Subscriber::to_exchange(&broker, &session.namespace()?).await?;
    let batches = batches(session, load, rate, length)?;
    let each = (rate * TICK.as_secs_f64()).max(1.0) as usize;
    let published_facts = batches.len() * each;
    let publisher = Publisher::spawn(session.broker("bench load"), CONFIRM_TIMEOUT);
    let (sent, times) = unbounded_channel();
    let publishing = tokio::spawn(publish(publisher, batches, sent));
    let histogram = listen(&mut subscriber, times).await?;
    publishing.await?;
    broker.close().await;
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    let at = published_facts as f64 / length.as_secs_f64();
    Ok(Latency { p50: round(ms(0.5)), p99: round(ms(0.99)), at_events_per_second: round(at) })
}

/// A load at this rate: what to publish with each tick.
pub fn batches(
    session: &Session,
    load: &mut load::Load,
    rate: f64,
    length: Duration,
) -> Result<Vec<Vec<Message>>> {
    let ticks = (length.as_secs_f64() / TICK.as_secs_f64()) as usize;
    let each = (rate * TICK.as_secs_f64()).max(1.0) as usize;
    (0..ticks).map(|_| load.draw(session, each)).collect()
}

/// When messages were published, and their ids.
pub type Sent = (Instant, Vec<String>);

/// Publishes a batch with each tick, whether those before are confirmed or not.
pub async fn publish(publisher: Publisher, batches: Vec<Vec<Message>>, sent: UnboundedSender<Sent>) {
    let mut ticker = tokio::time::interval(TICK);
    for batch in batches {
        ticker.tick().await;
        let now = Instant::now();
        let ids: Vec<String> = batch.iter().map(|message| message.message_id.clone()).collect();
        drop(sent.send((now, ids)));
        let publisher = publisher.clone();
        tokio::spawn(async move { publisher.publish_all(batch).await });
    }
}

/// Takes events until none comes any more; tells in microseconds how long after its fact each came.
async fn listen(subscriber: &mut Subscriber, mut times: UnboundedReceiver<Sent>) -> Result<Histogram<u64>> {
    let mut published: HashMap<String, Instant> = HashMap::new();
    let mut histogram: Histogram<u64> = Histogram::new(3)?;
    // A fact that changes nothing (a refund of what is refunded already) has no event: the run is over with silence.
    while let Ok(event) = tokio::time::timeout(SILENCE, subscriber.next()).await {
        let event = event?;
        let now = Instant::now();
        while let Ok((at, ids)) = times.try_recv() {
            published.extend(ids.into_iter().map(|id| (id, at)));
        }
        // Facts in a batch have the batch's message id; each fact is counted once, by its first event.
        let cause = event["cause"].as_str().and_then(|cause| cause.rsplit('/').next()).unwrap_or("");
        if let Some(at) = published.remove(cause) {
            histogram.record((now - at).as_micros() as u64)?;
        }
    }
    Ok(histogram)
}
