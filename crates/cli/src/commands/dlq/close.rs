//! Closing letters that nothing is to be done about, and opening them again.

use super::{Which, agreed, done, refused};
use crate::commands::bulk::Bulk;
use crate::session::Session;
use anyhow::Result;
use dead_letters::acts::{self, Order};
use dead_letters::read::{Filter, State};
use serde_json::json;
use std::process::ExitCode;
use time::OffsetDateTime;

pub async fn discard(session: &Session, which: &Which, bulk: &Bulk, reason: String) -> Result<ExitCode> {
    let filter = which.said()?;
    let Some(order) = order(session, filter, bulk, Some(reason), "Discard {} of them?").await? else {
        return Ok(ExitCode::from(2));
    };
    let count = match acts::discard(&session.pool, &order, OffsetDateTime::now_utc()).await {
        Ok(count) => count,
        Err(error) => return refused(session, error),
    };
    let kept = &session.config.retention.discarded_dead_letters;
    done(
        session,
        &format!("Discarded {count}. `bursar dlq undo` takes them back, for {kept}."),
        json!({ "discarded": count }),
    )
}

pub async fn undo(session: &Session, which: &Which, bulk: &Bulk, reason: Option<String>) -> Result<ExitCode> {
    let filter = Filter { states: vec![State::Discarded], ..which.said()? };
    let Some(order) = order(session, filter, bulk, reason, "Take {} of them back?").await? else {
        return Ok(ExitCode::from(2));
    };
    let count = match acts::undo(&session.pool, &order, OffsetDateTime::now_utc()).await {
        Ok(count) => count,
        Err(error) => return refused(session, error),
    };
    done(session, &format!("{count} are open again."), json!({ "opened": count }))
}

async fn order(
    session: &Session,
    filter: Filter,
    bulk: &Bulk,
    reason: Option<String>,
    question: &str,
) -> Result<Option<Order>> {
    let agreed = agreed(session, &filter, bulk, question).await?;
    let max = bulk.max.map(|max| max as i64);
    Ok(agreed.map(|expected| Order { by: bulk.by(), reason, filter, expected: Some(expected), max }))
}
