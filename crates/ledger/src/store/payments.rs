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
        let rows = sqlx::query_as!(
            LockedPayment,
            r#"select payment, state, account, catalog, merged_into, reading, record as "record: Json<PaymentRecord>"
               from payments where payment = any($1::text[]) order by payment for update"#,
            &names as _,
        )
        .fetch_all(work.connection().await?)
        .await
        .doing("locking payments")?;
        let mut merged = BTreeSet::new();
        for row in rows {
            let payment = row.payment()?;
            merged.extend(payment.merged_into.clone());
            books.payments.insert(payment.id.clone(), payment);
        }
        wanted = merged.into_iter().filter(|id| !books.payments.contains_key(id)).collect();
    }
    Ok(())
}

struct LockedPayment {
    payment: String,
    state: String,
    account: Option<String>,
    catalog: Option<String>,
    merged_into: Option<String>,
    reading: i16,
    record: Json<PaymentRecord>,
}

impl LockedPayment {
    fn payment(self) -> Result<LedgerPayment, Error> {
        Ok(LedgerPayment {
            id: parse_id("a payment id", &self.payment)?,
            record: self.record.0,
            state: PaymentState::parse(&self.state)
                .ok_or_else(|| Error::stored("a payment's state", &self.state))?,
            account: self.account.map(|account| parse_id("an account id", &account)).transpose()?,
            catalog: self.catalog.map(CatalogVersion),
            merged_into: self.merged_into.map(|payment| parse_id("a payment id", &payment)).transpose()?,
            reading: reading(self.reading)?,
            changed: false,
        })
    }
}

/// Writes the payments that the batch changed, sorted by their ids.
pub(super) async fn save(work: &mut Work, batch: &BatchState) -> Result<(), Error> {
    let mut changed: Vec<&LedgerPayment> =
        batch.books.payments.values().filter(|payment| payment.changed).collect();
    if changed.is_empty() {
        return Ok(());
    }
    changed.sort_by(|a, b| a.id.cmp(&b.id));
    let now = work.now;
    let rows = PaymentColumns::of(&changed);
    let lists = SummaryColumns::of(&changed);
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
        &rows.ids as _,
        &rows.states as _,
        &rows.accounts as _,
        &rows.catalogs as _,
        &rows.merged as _,
        &rows.records,
        &lists.customers,
        &lists.amounts as _,
        &lists.currencies as _,
        &lists.reversed,
        &lists.held,
        &rows.readings,
        now,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing payments")?;
    Ok(())
}

/// Payments as columns, as the statement takes them.
struct PaymentColumns<'a> {
    ids: Vec<&'a str>,
    states: Vec<&'static str>,
    accounts: Vec<Option<&'a str>>,
    catalogs: Vec<Option<&'a str>>,
    merged: Vec<Option<&'a str>>,
    records: Vec<String>,
    readings: Vec<i16>,
}

impl<'a> PaymentColumns<'a> {
    fn of(payments: &[&'a LedgerPayment]) -> Self {
        let all = || payments.iter().copied();
        Self {
            ids: all().map(|p| p.id.as_str()).collect(),
            states: all().map(|p| p.state.as_str()).collect(),
            accounts: all().map(|p| p.account.as_ref().map(AccountId::as_str)).collect(),
            catalogs: all().map(|p| p.catalog.as_ref().map(|version| version.0.as_str())).collect(),
            merged: all().map(|p| p.merged_into.as_ref().map(PaymentId::as_str)).collect(),
            records: all().map(|p| p.record.to_json()).collect(),
            readings: all().map(|p| i16::from(p.reading)).collect(),
        }
    }
}

/// What lists show of payments, as columns.
#[derive(Default)]
struct SummaryColumns {
    customers: Vec<String>,
    amounts: Vec<Option<Decimal>>,
    currencies: Vec<Option<&'static str>>,
    reversed: Vec<Decimal>,
    held: Vec<Decimal>,
}

impl SummaryColumns {
    fn of(payments: &[&LedgerPayment]) -> Self {
        let mut columns = Self::default();
        for summary in payments.iter().map(|payment| Summary::of(payment)) {
            columns.customers.push(summary.customers.join(" "));
            columns.amounts.push(summary.amount);
            columns.currencies.push(summary.currency);
            columns.reversed.push(summary.reversed);
            columns.held.push(summary.held);
        }
        columns
    }
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
