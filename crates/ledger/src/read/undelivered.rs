//! Payments that were paid and gave no credits: why, and what they would grant by today's catalog.

use super::payment::{WhyUndelivered, why_undelivered};
use db::{Doing, Error, PgConnection, Pool};
use domain::ledger::Rules;
use domain::record::PaymentRecord;
use domain::{Credits, Money, PaymentId};
use serde::Serialize;
use sqlx::types::Json;
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// `bursar payment undelivered list --each --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UndeliveredPayment {
    pub payment: PaymentId,
    pub why: WhyUndelivered,
    /// Of its items, as the processor names them.
    pub prices: Vec<String>,
    pub money: Option<Money>,
    /// When the ledger first heard of it.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// What it would grant today. Nothing where an operator has more to say than when: whose it is, what it grants.
    pub grants_today: Option<Credits>,
}

/// Up to `limit` of them, those that came after the given one, the oldest first.
///
/// # Errors
/// Those of the database, and where a stored id is none.
pub async fn undelivered(
    connection: &mut PgConnection,
    after: Option<&UndeliveredPayment>,
    limit: i64,
    today: &Rules,
) -> Result<Vec<UndeliveredPayment>, Error> {
    let rows = sqlx::query_as!(
        UndeliveredRow,
        r#"select payment, record as "record: Json<PaymentRecord>", created_at,
                  exists (select from customers c where c.customer = any(p.customers) and c.account is not null) as "linked!"
           from payments p
           where state = 'undelivered' and ($1::timestamptz is null or (created_at, payment) > ($1, $2::text collate "C"))
           order by created_at, payment limit $3"#,
        after.map(|after| after.since),
        after.map(|after| after.payment.as_str()),
        limit,
    )
    .fetch_all(connection)
    .await
    .doing("listing undelivered payments")?;
    rows.into_iter().map(|row| row.payment(today)).collect()
}

struct UndeliveredRow {
    payment: String,
    record: Json<PaymentRecord>,
    created_at: OffsetDateTime,
    /// Its customer stands for an account.
    linked: bool,
}

impl UndeliveredRow {
    fn payment(self, today: &Rules) -> Result<UndeliveredPayment, Error> {
        let payment: PaymentId =
            self.payment.parse().map_err(|error| Error::stored("a payment id", format!("{error}")))?;
        let record = self.record.0;
        let why = why_undelivered(&payment, &record, self.linked, today);
        let terms = record.terms(today.reading);
        let catalog = &today.catalogs[&today.current];
        let worth =
            terms.as_ref().and_then(|terms| terms.worth(payment.processor(), catalog, today.scale).ok());
        Ok(UndeliveredPayment {
            why,
            prices: terms.iter().flat_map(|terms| &terms.items).map(|item| item.price.clone()).collect(),
            money: terms.as_ref().map(|terms| terms.total),
            since: self.created_at,
            grants_today: worth.filter(|_| why == WhyUndelivered::PriceUnknown).map(|worth| worth.total()),
            payment,
        })
    }
}

/// Those of the payments that are delivered now.
///
/// # Errors
/// Those of the database, and where a stored id is none.
pub async fn delivered(pool: &Pool, payments: &[PaymentId]) -> Result<BTreeSet<PaymentId>, Error> {
    let names: Vec<&str> = payments.iter().map(PaymentId::as_str).collect();
    let rows = sqlx::query_scalar!(
        "select payment from payments where payment = any($1::text[]) and state = 'delivered'",
        &names as _,
    )
    .fetch_all(pool)
    .await
    .doing("asking which payments are delivered")?;
    rows.iter()
        .map(|name| name.parse().map_err(|error| Error::stored("a payment id", format!("{error}"))))
        .collect()
}
