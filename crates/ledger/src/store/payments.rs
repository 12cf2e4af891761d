//! Payments with their records.

use super::{BatchState, parse_id};
use db::{Doing, Error, Work};
use domain::catalog::CatalogVersion;
use domain::ledger::{Books, LedgerPayment, PaymentState};
use domain::record::{PaymentRecord, Reading};
use domain::{AccountId, CustomerId, PaymentId};
use rust_decimal::Decimal;
use sqlx::types::Json;
use std::collections::BTreeSet;

/// A reading of a later version is not guessed at.
pub(crate) fn reading(number: i16) -> Result<Reading, Error> {
    number.try_into().map_err(|error| Error::stored("a payment's reading", error))
}

/// Payments that a customer link of this batch may deliver.
pub(super) async fn waiting_for(
    work: &mut Work,
    linked: &BTreeSet<CustomerId>,
) -> Result<Vec<PaymentId>, Error> {
    if linked.is_empty() {
        return Ok(Vec::new());
    }
    let linked: Vec<&str> = linked.iter().map(CustomerId::as_str).collect();
    let rows = sqlx::query_scalar!(
        "select payment from payments where state = 'undelivered' and customers && $1::text[] order by payment",
        &linked as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("finding payments that wait for a customer")?;
    rows.iter().map(|payment| parse_id("a payment id", payment)).collect()
}

/// Locks payments, and those that they turned out to be.
pub(super) async fn lock(
    work: &mut Work,
    books: &mut Books,
    mut wanted: BTreeSet<PaymentId>,
) -> Result<(), Error> {
    while !wanted.is_empty() {
        let names: Vec<&str> = wanted.iter().map(PaymentId::as_str).collect();
        let rows = sqlx::query!(
            r#"select payment, state, account, catalog, merged_into, reading, record as "record: Json<PaymentRecord>"
               from payments where payment = any($1::text[]) order by payment for update"#,
            &names as _,
        )
        .fetch_all(work.connection().await?)
        .await
        .doing("locking payments")?;
        let mut merged = BTreeSet::new();
        for row in rows {
            let id: PaymentId = parse_id("a payment id", &row.payment)?;
            let account = row.account.map(|account| parse_id("an account id", &account)).transpose()?;
            let merged_into: Option<PaymentId> =
                row.merged_into.map(|payment| parse_id("a payment id", &payment)).transpose()?;
            merged.extend(merged_into.clone());
            let payment = LedgerPayment {
                id: id.clone(),
                record: row.record.0,
                state: PaymentState::parse(&row.state)
                    .ok_or_else(|| Error::stored("a payment's state", &row.state))?,
                account,
                catalog: row.catalog.map(CatalogVersion),
                merged_into,
                reading: reading(row.reading)?,
                changed: false,
            };
            books.payments.insert(id, payment);
        }
        wanted = merged.into_iter().filter(|id| !books.payments.contains_key(id)).collect();
    }
    Ok(())
}

pub(super) async fn save(work: &mut Work, batch: &BatchState) -> Result<(), Error> {
    let mut changed: Vec<&LedgerPayment> =
        batch.books.payments.values().filter(|payment| payment.changed).collect();
    if changed.is_empty() {
        return Ok(());
    }
    changed.sort_by(|a, b| a.id.cmp(&b.id));
    let now = work.now;
    let ids: Vec<&str> = changed.iter().map(|p| p.id.as_str()).collect();
    let states: Vec<&str> = changed.iter().map(|p| p.state.as_str()).collect();
    let accounts: Vec<Option<&str>> =
        changed.iter().map(|p| p.account.as_ref().map(AccountId::as_str)).collect();
    let catalogs: Vec<Option<&str>> =
        changed.iter().map(|p| p.catalog.as_ref().map(|c| c.0.as_str())).collect();
    let merged: Vec<Option<&str>> =
        changed.iter().map(|p| p.merged_into.as_ref().map(PaymentId::as_str)).collect();
    let records: Vec<String> = changed.iter().map(|p| p.record.to_json()).collect();
    let summaries: Vec<Summary> = changed.iter().map(|p| Summary::of(p)).collect();
    let customers: Vec<String> = summaries.iter().map(|s| s.customers.join(" ")).collect();
    let amounts: Vec<Option<Decimal>> = summaries.iter().map(|s| s.amount).collect();
    let currencies: Vec<Option<&str>> = summaries.iter().map(|s| s.currency).collect();
    let reversed: Vec<Decimal> = summaries.iter().map(|s| s.reversed).collect();
    let held: Vec<Decimal> = summaries.iter().map(|s| s.held).collect();
    let readings: Vec<i16> = changed.iter().map(|p| i16::from(p.reading)).collect();
    sqlx::query!(
        "insert into payments (payment, state, account, catalog, merged_into, record, customers, amount, currency,
                               reversed_amount, held_amount, reading, created_at, updated_at)
         select payment, state, account, catalog, merged_into, record::json,
                string_to_array(customers, ' '), amount, currency, reversed, held, reading, $13, $13
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::numeric[],
                     $9::text[], $10::numeric[], $11::numeric[], $12::smallint[])
           as p (payment, state, account, catalog, merged_into, record, customers, amount, currency, reversed, held, reading)
         on conflict (payment) do update set
           state = excluded.state, account = excluded.account, catalog = excluded.catalog,
           merged_into = excluded.merged_into, record = excluded.record, customers = excluded.customers,
           amount = excluded.amount, currency = excluded.currency, reversed_amount = excluded.reversed_amount,
           held_amount = excluded.held_amount, reading = excluded.reading, updated_at = excluded.updated_at",
        &ids as _,
        &states as _,
        &accounts as _,
        &catalogs as _,
        &merged as _,
        &records,
        &customers,
        &amounts as _,
        &currencies as _,
        &reversed,
        &held,
        &readings,
        now,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing payments")?;
    Ok(())
}

/// What lists show of a payment, derived from its record.
struct Summary {
    customers: Vec<String>,
    amount: Option<Decimal>,
    currency: Option<&'static str>,
    reversed: Decimal,
    held: Decimal,
}

impl Summary {
    fn of(payment: &LedgerPayment) -> Self {
        let Some(terms) = payment.record.terms(payment.reading) else {
            return Self {
                customers: Vec::new(),
                amount: None,
                currency: None,
                reversed: Decimal::ZERO,
                held: Decimal::ZERO,
            };
        };
        let gone = payment.record.gone(&terms, payment.reading);
        Self {
            customers: terms.customers.into_iter().map(String::from).collect(),
            amount: Some(terms.total.amount()),
            currency: Some(terms.total.currency().code()),
            reversed: gone.reversed,
            held: gone.held,
        }
    }
}
