//! Publishes what the front door kept in Postgres while RabbitMQ was away.

use crate::intake::Intake;
use bus::{Delays, Message};
use db::Doing;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often to look while there is nothing.
const IDLE: Duration = Duration::from_secs(1);

/// Messages in one go; a webhook's body may have a megabyte.
const AT_ONCE: i64 = 50;

/// Runs until the token is cancelled. Any number of them may run.
pub async fn sweep(intake: Intake, stop: CancellationToken) {
    let mut delays = Delays::for_servers();
    loop {
        let pause = match sweep_some(&intake).await {
            Ok(0) => IDLE,
            Ok(count) => {
                tracing::info!(messages = count, "published what was kept in Postgres");
                delays.reset();
                continue;
            }
            Err(why) => {
                tracing::warn!(why, "kept messages wait");
                delays.next_delay()
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn sweep_some(intake: &Intake) -> Result<usize, String> {
    publish_some(intake).await.map_err(|error| error.to_string())
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error(transparent)]
    Publish(#[from] bus::PublishError),
}

async fn publish_some(intake: &Intake) -> Result<usize, Error> {
    let mut transaction = intake.pool.begin().await.doing("beginning a sweep")?;
    let kept = db::kept::claim(&mut transaction, AT_ONCE).await?;
    if kept.is_empty() {
        return Ok(0);
    }
    let ids: Vec<_> = kept.iter().map(|message| message.id).collect();
    let messages = kept.into_iter().map(|kept| Message {
        exchange: kept.exchange,
        routing_key: kept.routing_key,
        message_id: kept.message_id,
        content_type: kept.content_type,
        headers: kept.headers,
        body: kept.body,
    });
    intake.publisher.publish_all(messages.collect()).await?;
    db::kept::published(&mut transaction, &ids).await?;
    transaction.commit().await.doing("committing a sweep")?;
    Ok(ids.len())
}
