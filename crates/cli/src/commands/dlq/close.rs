//! Closing letters that nothing is to be done about, and opening them again.

use super::agreed::{agreed, refused};
use super::which::Chosen;
use crate::commands::bulk::Agreement;
use crate::output::done;
use crate::session::Session;
use anyhow::Result;
use dead_letters::acts::{self, ActRequest};
use dead_letters::read::{Filter, LetterState};
use serde_json::json;
use std::process::ExitCode;
use time::OffsetDateTime;

pub async fn discard(
    session: &Session,
    which: &Chosen,
    agreement: &Agreement,
    reason: String,
) -> Result<ExitCode> {
    let filter = which.filter();
    let Some(order) = order(session, filter, agreement, Some(reason), "Discard {} of them?").await? else {
        return Ok(ExitCode::from(2));
    };
    if order.expected == Some(0) {
        return done(session.json, "Nothing to discard.", &json!({ "discarded": 0 }));
    }
    let count = match acts::discard(&session.pool, &order, OffsetDateTime::now_utc()).await {
        Ok(count) => count,
        Err(error) => return refused(session, error),
    };
    let kept = &session.config.retention.discarded_dead_letters;
    done(
        session.json,
        &format!("Discarded {count}. `bursar dlq undo` takes them back, for {kept}."),
        &json!({ "discarded": count }),
    )
}

pub async fn undo(
    session: &Session,
    which: &Chosen,
    agreement: &Agreement,
    reason: Option<String>,
) -> Result<ExitCode> {
    let filter = Filter { states: vec![LetterState::Discarded], ..which.filter() };
    let Some(order) = order(session, filter, agreement, reason, "Take {} of them back?").await? else {
        return Ok(ExitCode::from(2));
    };
    if order.expected == Some(0) {
        return done(session.json, "Nothing to take back.", &json!({ "opened": 0 }));
    }
    let count = match acts::undo(&session.pool, &order, OffsetDateTime::now_utc()).await {
        Ok(count) => count,
        Err(error) => return refused(session, error),
    };
    done(session.json, &format!("{count} are open again."), &json!({ "opened": count }))
}

async fn order(
    session: &Session,
    filter: Filter,
    agreement: &Agreement,
    reason: Option<String>,
    question: &str,
) -> Result<Option<ActRequest>> {
    let by = agreement.by()?;
    let agreed = agreed(session, &filter, agreement, question).await?;
    let max = agreement.max.map(|max| max as i64);
    Ok(agreed.map(|expected| ActRequest { by, reason, filter, expected: Some(expected), max }))
}
