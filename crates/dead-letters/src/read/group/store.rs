//! SQL of kinds of failures.

use super::Group;
use crate::read::{Amount, Filter, plain};
use db::{Doing, Error, Pool};
use rust_decimal::Decimal;
use sqlx::types::Json;
use time::OffsetDateTime;

/// Kinds of failures, the largest first.
///
/// # Errors
/// Those of the database.
pub async fn groups(pool: &Pool, filter: &Filter, limit: i64) -> Result<Vec<Group>, Error> {
    let rows = sqlx::query_as!(
        GroupRow,
        r#"with meant as (
               select fingerprint, dead_at, account, amount, currency, credits from dead_letters_meant($1)
           ), counted as (
               select fingerprint, count(*) as count, min(dead_at) as first, max(dead_at) as last,
                      count(distinct account) as accounts, coalesce(sum(credits), 0) as credits
               from meant group by fingerprint
           ), money as (
               select fingerprint, json_agg(json_build_array(currency, amount::text) order by currency) as sums
               from (select fingerprint, currency, sum(amount) as amount from meant where currency is not null
                     group by fingerprint, currency) s
               group by fingerprint
           )
           select c.fingerprint as "fingerprint!", f.worker, f.fact_type, f.code, left(f.reason, 500) as "reason!",
                  c.count as "count!", c.first as "first!", c.last as "last!", c.accounts as "accounts!",
                  c.credits as "credits!", m.sums as "sums?: Json<Vec<(String, Decimal)>>",
                  (select count(*) from dead_letter_audit a where a.fingerprint = c.fingerprint and a.action = 'note') as "notes!"
           from counted c join fingerprints f using (fingerprint) left join money m using (fingerprint)
           order by c.count desc, c.fingerprint limit $2"#,
        Json(filter) as _,
        limit,
    )
    .fetch_all(pool)
    .await
    .doing("grouping dead letters")?;
    Ok(rows.into_iter().map(Group::from).collect())
}

/// A row of the list of kinds; `sums` has the money of each currency.
struct GroupRow {
    fingerprint: String,
    worker: String,
    fact_type: Option<String>,
    code: String,
    reason: String,
    count: i64,
    first: OffsetDateTime,
    last: OffsetDateTime,
    accounts: i64,
    credits: Decimal,
    sums: Option<Json<Vec<(String, Decimal)>>>,
    notes: i64,
}

impl From<GroupRow> for Group {
    fn from(row: GroupRow) -> Self {
        let sums = row.sums.into_iter().flat_map(|sums| sums.0);
        Self {
            fingerprint: row.fingerprint,
            worker: row.worker,
            fact_type: row.fact_type,
            code: row.code,
            reason: row.reason,
            count: row.count,
            first: row.first,
            last: row.last,
            accounts: row.accounts,
            money: sums.map(|(currency, amount)| Amount::new(amount, &currency)).collect(),
            credits: plain(row.credits),
            notes: row.notes,
        }
    }
}

/// How many kinds of failures there are.
///
/// # Errors
/// Those of the database.
pub async fn count_groups(pool: &Pool, filter: &Filter) -> Result<i64, Error> {
    sqlx::query_scalar!(
        r#"select count(distinct fingerprint) as "count!" from dead_letters_meant($1)"#,
        Json(filter) as _,
    )
    .fetch_one(pool)
    .await
    .doing("counting kinds of dead letters")
}
