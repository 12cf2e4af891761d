//! Lots as people and gateways read them: those of an account, now or at a moment in the past, and those of a payment.

use db::{Doing, Error, PgConnection};
use domain::lot::LotKind;
use domain::{AccountId, Credits};
use rust_decimal::Decimal;
use serde::Serialize;
use time::OffsetDateTime;

/// An account may have more lots than anybody reads: those with credits come first, then the newest.
const LOTS_MAX: i64 = 200;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LotView {
    pub lot: String,
    pub kind: String,
    pub payment: Option<String>,
    pub granted: Credits,
    pub remaining: Credits,
    pub held: Credits,
    pub consumed: Credits,
    pub reversed: Credits,
    pub expired: Credits,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
}

/// A row of the statements that read lots; `total` counts those beyond the limit too.
pub(super) struct LotRow {
    pub lot: String,
    pub kind: String,
    pub payment: Option<String>,
    pub granted: Decimal,
    pub remaining: Decimal,
    pub held: Decimal,
    pub consumed: Decimal,
    pub reversed: Decimal,
    pub expired: Decimal,
    pub since: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    pub total: i64,
}

impl From<LotRow> for LotView {
    fn from(row: LotRow) -> Self {
        Self {
            lot: row.lot,
            kind: row.kind,
            payment: row.payment,
            granted: Credits::new(row.granted),
            remaining: Credits::new(row.remaining),
            held: Credits::new(row.held),
            consumed: Credits::new(row.consumed),
            reversed: Credits::new(row.reversed),
            expired: Credits::new(row.expired),
            since: row.since,
            expires_at: row.expires_at,
        }
    }
}

/// The lots of an account as they are now.
pub(super) async fn lots_of_account(
    connection: &mut PgConnection,
    id: &AccountId,
) -> Result<Vec<LotRow>, Error> {
    sqlx::query_as!(
        LotRow,
        r#"select lot, kind, payment, granted, remaining, held, consumed, reversed, expired, since, expires_at,
                  count(*) over () as "total!"
           from lots where account = $1
           order by (remaining + held > 0) desc, since desc, lot limit $2"#,
        id.as_str(),
        LOTS_MAX,
    )
    .fetch_all(connection)
    .await
    .doing("reading an account's lots")
}

/// The lots of an account as they were after its transaction number `last`, computed from its journal.
pub(super) async fn lots_as_of(
    connection: &mut PgConnection,
    id: &AccountId,
    last: i64,
) -> Result<Vec<LotRow>, Error> {
    sqlx::query_as!(
        LotRow,
        r#"select lot as "lot!", kind as "kind!", payment, coalesce(-issued, 0) as "granted!",
                  coalesce(available, 0) as "remaining!", coalesce(e.held, 0) as "held!",
                  coalesce(e.consumed, 0) as "consumed!", coalesce(e.reversed, 0) as "reversed!",
                  coalesce(e.expired, 0) as "expired!", since as "since!", expires_at, count(*) over () as "total!"
           from (select lot,
                        sum(amount) filter (where book = 'issued') as issued,
                        sum(amount) filter (where book = 'available') as available,
                        sum(amount) filter (where book = 'held') as held,
                        sum(amount) filter (where book = 'consumed') as consumed,
                        sum(amount) filter (where book = 'reversed') as reversed,
                        sum(amount) filter (where book = 'expired') as expired
                 from entries where account = $1 and number <= $2 and lot is not null group by lot) e
           join lots using (lot)
           order by (coalesce(available, 0) + coalesce(e.held, 0) > 0) desc, since desc, lot limit $3"#,
        id.as_str(),
        last,
        LOTS_MAX,
    )
    .fetch_all(connection)
    .await
    .doing("computing an account's lots")
}

/// The lots that a payment was granted: its own, whoever has them.
pub(super) async fn lots_of_payment(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Vec<LotView>, Error> {
    let names = [LotKind::Purchase, LotKind::Bonus].map(|kind| format!("{name}#{}", kind.as_str()));
    let rows = sqlx::query_as!(
        LotRow,
        r#"select lot, kind, payment, granted, remaining, held, consumed, reversed, expired, since, expires_at,
                  count(*) over () as "total!"
           from lots where lot = any($1) order by kind desc"#,
        &names,
    )
    .fetch_all(connection)
    .await
    .doing("reading a payment's lots")?;
    Ok(rows.into_iter().map(LotView::from).collect())
}
