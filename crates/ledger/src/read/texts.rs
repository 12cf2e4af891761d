//! What is stored of an account in words: facts with texts, and bodies of deliveries.

use super::snapshot;
use db::{Doing, Error, Pool};
use domain::{AccountId, Cause};
use time::OffsetDateTime;

/// Every fact about an account that has texts or a stored body, of those admitted before `before`: those that name it, those
/// about its payments and customers, and requests for refunds of its payments. Reads all that has texts, once.
///
/// # Errors
/// Those of the database.
pub async fn texts_of(
    pool: &Pool,
    account: &AccountId,
    before: Option<OffsetDateTime>,
) -> Result<Vec<Cause>, Error> {
    let mut transaction = snapshot(pool).await?;
    sqlx::query!("set local statement_timeout = '10min'")
        .execute(&mut *transaction)
        .await
        .doing("looking for texts of an account")?;
    // As it stands in a canonical fact: inside of a text its quotes would be escaped.
    let named = format!("\"account\":{}", serde_json::Value::from(account.as_str()));
    sqlx::query!(
        r#"with worded as (
               select source, id, kind, fact, admitted_at from facts_with_texts
               union
               select i.source, i.id, i.kind, i.fact, i.admitted_at from raw_deliveries r join inbox i using (source, id)
           ), payments_meant as (
               select payment from payments where account = $1
           ), ids_meant as (
               select id, substr(id, strpos(id, ':') + 1) as own from payment_ids
               where payment in (select payment from payments_meant)
           )
           select source as "source!", id as "id!" from worded w
           where ($3::timestamptz is null or admitted_at < $3) and (
               position($2 in fact) > 0
               or (source, id) in (select f.source, f.id from outcomes f
                                   where f.reader = 'ledger'
                                     and f.payment in (select payment from payments_meant))
               or (fact::json ->> 'payment') in (select id from ids_meant)
               or (kind = 'fact.customer'
                   and (fact::json ->> 'customer') in (select customer from customers where account = $1))
               or (kind = 'fact.refund_request' and (fact::json ->> 'transaction') in (select own from ids_meant)))
           order by 1, 2"#,
        account.as_str(),
        named,
        before,
    )
    .map(|row| Cause { source: row.source, id: row.id })
    .fetch_all(&mut *transaction)
    .await
    .doing("looking for texts of an account")
}
