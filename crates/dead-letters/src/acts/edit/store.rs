//! SQL of an edit.

use super::Edit;
use crate::Subject;
use crate::acts::store::{again, begin, commit, take};
use crate::acts::{ActError, ActRequest};
use crate::letter::key;
use crate::read::{Filter, LetterState};
use db::{Doing, PgConnection, Pool};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

/// Closes a letter, and opens another that says what the edit says: under a message id of its own, linked both ways.
/// Returns the new letter.
///
/// # Errors
/// Where the letter is not open or not known, where the edit names nobody, and those of the database.
pub async fn edit(
    pool: &Pool,
    edit: &Edit,
    subject: &Subject,
    now: OffsetDateTime,
) -> Result<Uuid, ActError> {
    let request = ActRequest {
        by: edit.by.clone(),
        reason: Some(edit.reason.clone()),
        filter: Filter::letter(edit.letter),
        expected: Some(1),
        max: None,
    };
    again(async || {
        let mut transaction = begin(pool).await?;
        take(&mut transaction, &request, LetterState::Open).await?;
        let new = Uuid::now_v7();
        open_edited(&mut transaction, edit, new, subject, now).await?;
        close_edited(&mut transaction, edit, new, now).await?;
        record_edit(&mut transaction, edit, new, now).await?;
        commit(transaction).await?;
        Ok(new)
    })
    .await
}

/// The new letter is a copy of the old one, but for the body and what the body is about.
async fn open_edited(
    connection: &mut PgConnection,
    edit: &Edit,
    new: Uuid,
    subject: &Subject,
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    let cause = subject.cause.as_ref();
    let key = key(&[b"edit", new.as_bytes()]);
    sqlx::query!(
        "insert into dead_letters (letter, key, state, worker, queue, code, reason, fingerprint, attempts, first_failed_at,
             dead_at, recorded_at, exchange, routing_key, message_id, content_type, user_id, headers, body, traceparent,
             fact_type, source, id, account, payment, amount, currency, credits, previous, diff)
         select $2, $3, 'open', worker, queue, code, reason, fingerprint, attempts, first_failed_at, dead_at, $4, exchange,
             routing_key, $2::uuid::text, content_type, user_id, headers, $5, traceparent, $6, $7, $8, $9, $10, $11, $12, $13,
             letter, $14
         from dead_letters where letter = $1",
        edit.letter,
        new,
        key.as_slice(),
        now,
        edit.body,
        subject.fact_type,
        cause.map(|cause| cause.source.as_str()),
        cause.map(|cause| cause.id.as_str()),
        subject.account,
        subject.payment,
        subject.money.map(|money| money.amount()),
        subject.money.map(|money| money.currency().code()),
        subject.credits.map(|credits| credits.decimal()),
        edit.diff,
    )
    .execute(connection)
    .await
    .doing("opening an edited letter")?;
    Ok(())
}

async fn close_edited(
    connection: &mut PgConnection,
    edit: &Edit,
    new: Uuid,
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    sqlx::query!(
        "update dead_letters set state = 'edited', closed_at = $2, closed_by = $3, outcome = $4 where letter = $1",
        edit.letter,
        now,
        edit.by,
        format!("goes on as {new}"),
    )
    .execute(connection)
    .await
    .doing("closing an edited letter")?;
    Ok(())
}

/// Both letters find the edit in their audit.
async fn record_edit(
    connection: &mut PgConnection,
    edit: &Edit,
    new: Uuid,
    now: OffsetDateTime,
) -> Result<(), db::Error> {
    let result = json!({ "new": new, "agreed_by": edit.agreed_by, "diff": edit.audited });
    for letter in [edit.letter, new] {
        sqlx::query!(
            "insert into dead_letter_audit (at, by, action, letter, letters, reason, result)
             values ($1, $2, 'edit', $3, 1, $4, $5)",
            now,
            edit.by,
            letter,
            edit.reason,
            result,
        )
        .execute(&mut *connection)
        .await
        .doing("recording an edit")?;
    }
    Ok(())
}
