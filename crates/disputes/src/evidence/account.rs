//! What the payment gave to the account, with the journal's proof; the account's balance over time, and what restricted it.

use super::Subject;
use db::{Doing, Error, PgConnection};
use domain::journal::{Entry, GENESIS, Hash, Transaction, TransactionKind};
use domain::{Cause, Credits};
use evidence::{BalancePoint, Grant, Head, Proof, Restriction};
use jobs::{EntryView, TransactionView};
use rust_decimal::Decimal;
use sqlx::types::Json;
use time::OffsetDateTime;

/// Transactions of a payment that a pack holds.
const TRANSACTIONS_MAX: i64 = 500;

pub async fn grant(connection: &mut PgConnection, of: &Subject) -> Result<Grant, Error> {
    let lots = sqlx::query!(
        r#"select coalesce(sum(granted), 0) as "granted!", coalesce(sum(remaining), 0) as "remaining!", coalesce(sum(held), 0) as "held!",
                  coalesce(sum(reversed), 0) as "reversed!", coalesce(sum(expired), 0) as "expired!"
           from lots where payment = $1"#,
        of.payment.as_str(),
    )
    .fetch_one(&mut *connection)
    .await
    .doing("reading the lots of a payment")?;
    let used = used(connection, of).await?;
    let transactions = transactions(connection, of).await?;
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from transactions where payment = $1"#,
        of.payment.as_str()
    )
    .fetch_one(&mut *connection)
    .await
    .doing("counting the transactions of a payment")?;
    let head =
        sqlx::query!("select transactions, head from accounts where account = $1", of.account.as_str())
            .fetch_optional(connection)
            .await
            .doing("reading the head of an account's journal")?;
    let granted = transactions.iter().find(|proof| proof.kind == TransactionKind::Grant);
    Ok(Grant {
        credits: Credits::new(lots.granted),
        at: granted.map(|proof| proof.at),
        consumed: used,
        remaining: Credits::new(lots.remaining),
        held: Credits::new(lots.held),
        reversed: Credits::new(lots.reversed),
        expired: Credits::new(lots.expired),
        transactions_left_out: u64::try_from(count).unwrap_or(0).saturating_sub(transactions.len() as u64),
        transactions,
        head: head
            .map(|row| Ok::<_, Error>(Head { number: number(row.transactions)?, hash: hash(&row.head)? }))
            .transpose()?,
    })
}

async fn transactions(connection: &mut PgConnection, of: &Subject) -> Result<Vec<Proof>, Error> {
    let rows = sqlx::query!(
        r#"select t.account, t.number, t.kind, t.cause_source, t.cause_id, t.payment, t.at, t.hash,
                  t.entries as "entries: Json<Vec<Entry>>", b.hash as "previous?"
           from transactions t left join transactions b on b.account = t.account and b.number = t.number - 1
           where t.payment = $1 and t.account = $2 order by t.number limit $3"#,
        of.payment.as_str(),
        of.account.as_str(),
        TRANSACTIONS_MAX,
    )
    .fetch_all(connection)
    .await
    .doing("reading the transactions of a payment")?;
    rows.into_iter()
        .map(|row| {
            let kind = TransactionKind::parse(&row.kind);
            let transaction = Transaction {
                account: row.account.parse().map_err(|error| Error::stored("an account id", error))?,
                number: number(row.number)?,
                kind: kind
                    .ok_or_else(|| Error::stored("a transaction", format!("its kind is {}", row.kind)))?,
                cause: Cause { source: row.cause_source, id: row.cause_id },
                payment: row
                    .payment
                    .map(|id| id.parse().map_err(|error| Error::stored("a payment id", error)))
                    .transpose()?,
                at: row.at,
                entries: row.entries.0,
                hash: hash(&row.hash)?,
            };
            Ok(Proof::new(transaction, row.previous.as_deref().map_or(Ok(GENESIS), hash)?))
        })
        .collect()
}

/// What the customer used of the payment's credits: the most that ever was consumed of its lots. A reversal takes consumed
/// credits back though they were used all the same, and what a restoration covers again is no second use.
async fn used(connection: &mut PgConnection, of: &Subject) -> Result<Credits, Error> {
    let used = sqlx::query_scalar!(
        r#"select coalesce(max(consumed), 0) as "used!"
           from (select sum(sum((e.entry ->> 2)::numeric)) over (order by t.number) as consumed
                 from transactions t cross join lateral json_array_elements(t.entries) e (entry)
                 where t.account = $1 and e.entry ->> 0 = 'consumed'
                   and (e.entry ->> 1) collate "C" in (select lot from lots where payment = $2)
                 group by t.number) n"#,
        of.account.as_str(),
        of.payment.as_str(),
    )
    .fetch_one(connection)
    .await
    .doing("computing what was used of a payment")?;
    Ok(Credits::new(used))
}

/// The same as people read the journal.
pub fn views(of: &Subject, grant: &Grant) -> Vec<TransactionView> {
    let entry = |entry: &Entry| EntryView {
        book: entry.book.as_str().to_owned(),
        lot: entry.lot.clone(),
        amount: entry.amount,
    };
    let view = |proof: &Proof| TransactionView {
        account: of.account.to_string(),
        number: i64::try_from(proof.number).unwrap_or(i64::MAX),
        at: proof.at,
        kind: proof.kind.as_str().to_owned(),
        cause: proof.cause.to_string(),
        payment: proof.payment.as_ref().map(ToString::to_string),
        entries: proof.entries.iter().map(entry).collect(),
        after: None,
    };
    grant.transactions.iter().map(view).collect()
}

fn number(stored: i64) -> Result<u64, Error> {
    stored.try_into().map_err(|_| Error::stored("a number", format!("expected one from 0 on, got {stored}")))
}

fn hash(bytes: &[u8]) -> Result<Hash, Error> {
    bytes.try_into().map_err(|_| Error::stored("a hash", "expected 32 bytes"))
}

/// The balance at the end of each day (UTC) on which it changed.
pub async fn balance(connection: &mut PgConnection, of: &Subject) -> Result<Vec<BalancePoint>, Error> {
    let rows = sqlx::query!(
        r#"select max(t.at) as "at!",
                  coalesce(sum((e.entry ->> 2)::numeric) filter (where e.entry ->> 0 = 'available'), 0) as "available!",
                  coalesce(sum((e.entry ->> 2)::numeric) filter (where e.entry ->> 0 = 'held'), 0) as "held!",
                  coalesce(sum((e.entry ->> 2)::numeric) filter (where e.entry ->> 0 = 'debt'), 0) as "debt!"
           from transactions t cross join lateral json_array_elements(t.entries) e (entry)
           where t.account = $1 group by (t.at at time zone 'UTC')::date order by 1"#,
        of.account.as_str(),
    )
    .fetch_all(connection)
    .await
    .doing("computing an account's balance over time")?;
    let mut so_far = [Decimal::ZERO; 3];
    let points = rows.into_iter().map(|row| {
        for (sum, change) in so_far.iter_mut().zip([row.available, row.held, row.debt]) {
            *sum += change;
        }
        let [available, held, debt] = so_far.map(Credits::new);
        BalancePoint { at: row.at, available, held, debt }
    });
    Ok(points.collect())
}

/// What this case restricted.
pub async fn restrictions(connection: &mut PgConnection, of: &Subject) -> Result<Vec<Restriction>, Error> {
    struct Row {
        kind: String,
        since: OffsetDateTime,
        ended_at: Option<OffsetDateTime>,
        lifted_by: Option<String>,
    }
    let rows = sqlx::query_as!(
        Row,
        "select kind, since, ended_at, lifted_by from restrictions where cause_kind = 'case' and cause = $1
         order by since, kind, stage",
        of.case.as_str(),
    )
    .fetch_all(connection)
    .await
    .doing("reading what a dispute restricted")?;
    let restriction = |row: Row| Restriction {
        kind: row.kind,
        cause: match row.lifted_by {
            // Who works there is nobody's business.
            Some(_) => "this case; lifted by an operator".to_owned(),
            None => "this case".to_owned(),
        },
        since: row.since,
        until: row.ended_at,
    };
    Ok(rows.into_iter().map(restriction).collect())
}
