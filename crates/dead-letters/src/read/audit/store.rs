//! SQL of the audit.

use super::{AuditFilter, AuditLine};
use db::{Doing, Error, Pool};

/// The latest first. A letter's are also those on many of which it was one, those of the replays that it was in, and, of
/// its kind, the notes.
///
/// # Errors
/// Those of the database.
pub async fn audit(pool: &Pool, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditLine>, Error> {
    sqlx::query_as!(
        AuditLine,
        "select number, at, by, action, letter, fingerprint, replay, filter, letters, reason, result
         from dead_letter_audit
         where ($1::uuid is null and $2::text is null
                or letter = $1 or replay = $1 or number in (select number from dead_letter_audit_letters where letter = $1)
                or replay in (select replay from replay_letters where letter = $1)
                or fingerprint = $2 and ($1 is null or action = 'note')
                or $1 is null and replay in (select replay from dead_letter_audit where fingerprint = $2))
           and ($3::text is null or by = $3)
         order by number desc limit $4",
        filter.id,
        filter.fingerprint,
        filter.by,
        limit,
    )
    .fetch_all(pool)
    .await
    .doing("reading the audit")
}
