//! A payment: what its facts say of it, what it granted, and what became of that.

use super::lot::{LotView, lots_of_payment};
use super::statement::{TransactionView, transactions_of_payment};
use super::{money_text, snapshot};
use db::{Doing, Error, PgConnection, Pool};
use domain::catalog::Unknown;
use domain::ledger::{PaymentState, Rules};
use domain::record::{PaymentRecord, Reading, Stated};
use domain::{AccountId, Credits, PaymentId};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::types::Json;
use time::{OffsetDateTime, UtcOffset};

/// A payment has a handful of facts and transactions; one with more than this is looked into with SQL.
const HISTORY_MAX: i64 = 500;

/// A line of a list of payments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentLine {
    pub payment: String,
    pub state: String,
    pub account: Option<String>,
    /// What was paid; nothing while no fact says that it was.
    pub amount: Option<String>,
    pub currency: Option<String>,
    pub granted: Credits,
    pub reversed_amount: String,
    pub held_amount: String,
    /// When the ledger first heard of it.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// `bursar payment show --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PaymentView {
    #[serde(flatten)]
    pub line: PaymentLine,
    /// Every other id that leads to this payment.
    pub aliases: Vec<String>,
    pub customer: Option<String>,
    /// The catalog of its first grant.
    pub catalog: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_undelivered: Option<WhyUndelivered>,
    pub record: PaymentRecord,
    pub lots: Vec<LotView>,
    pub facts: Vec<FactLine>,
    pub transactions: Vec<TransactionView>,
}

/// Why a paid payment has granted nothing yet; the same words as in the event `payment.undelivered`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyUndelivered {
    AccountUnknown,
    AccountContradicted,
    PriceUnknown,
    NotAPurchaseOfCredits,
    AmountNoMultiple,
}

/// A fact about a payment, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FactLine {
    pub fact: String,
    pub kind: String,
    pub outcome: String,
    #[serde(with = "time::serde::rfc3339")]
    pub settled_at: OffsetDateTime,
}

struct PaymentRow {
    payment: String,
    state: String,
    account: Option<String>,
    amount: Option<Decimal>,
    currency: Option<String>,
    reversed_amount: Decimal,
    held_amount: Decimal,
    created_at: OffsetDateTime,
    granted: Decimal,
}

impl From<PaymentRow> for PaymentLine {
    fn from(row: PaymentRow) -> Self {
        let money = |amount| money_text(amount, row.currency.as_deref());
        Self {
            amount: row.amount.map(money),
            granted: Credits::new(row.granted),
            reversed_amount: money(row.reversed_amount),
            held_amount: money(row.held_amount),
            payment: row.payment,
            state: row.state,
            account: row.account,
            currency: row.currency,
            created_at: row.created_at,
        }
    }
}

/// Which payments to list. Without a state those that turned out to be others are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentFilter {
    pub state: Option<PaymentState>,
    pub account: Option<AccountId>,
    pub limit: i64,
}

/// The newest payments first.
///
/// # Errors
/// Those of the database.
pub async fn payments(pool: &Pool, filter: &PaymentFilter) -> Result<Vec<PaymentLine>, Error> {
    list(&mut *snapshot(pool).await?, filter).await
}

async fn list(connection: &mut PgConnection, filter: &PaymentFilter) -> Result<Vec<PaymentLine>, Error> {
    // A payment's lots are found by their names: a hot account may have very many others.
    let rows = sqlx::query_as!(
        PaymentRow,
        r#"select payment, state, account, amount, currency, reversed_amount, held_amount, created_at,
                  (select coalesce(sum(granted), 0) from lots
                   where lot = any(array[p.payment || '#purchase', p.payment || '#bonus'])) as "granted!"
           from payments p
           where (state = $1 or ($1::text is null and state <> 'merged')) and ($2::text is null or account = $2)
           order by created_at desc, payment limit $3"#,
        filter.state.map(PaymentState::as_str),
        filter.account.as_ref().map(AccountId::as_str),
        filter.limit,
    )
    .fetch_all(connection)
    .await
    .doing("listing payments")?;
    Ok(rows.into_iter().map(PaymentLine::from).collect())
}

/// The newest payments of an account.
pub(super) async fn payments_of_account(
    connection: &mut PgConnection,
    account: &AccountId,
    limit: i64,
) -> Result<Vec<PaymentLine>, Error> {
    list(connection, &PaymentFilter { state: None, account: Some(account.clone()), limit }).await
}

/// The payment that an id leads to, by whatever name the purchase is known; nothing where no fact has named it.
/// Why one is undelivered is judged by today's rules.
///
/// # Errors
/// Those of the database.
pub async fn payment(pool: &Pool, id: &PaymentId, today: &Rules) -> Result<Option<PaymentView>, Error> {
    let connection = &mut *snapshot(pool).await?;
    let Some(name) = leads_to(connection, id).await? else { return Ok(None) };
    let Some((row, stored)) = stored(connection, &name).await? else { return Ok(None) };
    let aliases = aliases(connection, &name).await?;
    let names: Vec<String> = aliases.iter().cloned().chain([name.clone()]).collect();
    let linked = is_linked(connection, &stored.record).await?;
    let why_undelivered = (row.state == PaymentState::Undelivered.as_str())
        .then(|| why_undelivered(id, &stored.record, linked, today));
    Ok(Some(PaymentView {
        line: PaymentLine::from(row),
        aliases,
        customer: stored.customer,
        catalog: stored.catalog,
        why_undelivered,
        record: in_utc(stored.record),
        lots: lots_of_payment(connection, &name).await?,
        facts: facts(connection, &names).await?,
        transactions: transactions_of_payment(connection, &names, HISTORY_MAX).await?,
    }))
}

/// Why an undelivered payment is so. `linked`: its customer stands for an account.
pub fn why_undelivered(
    id: &PaymentId,
    record: &PaymentRecord,
    linked: bool,
    today: &Rules,
) -> WhyUndelivered {
    let terms = record.terms(today.reading);
    let named = terms.as_ref().is_some_and(|terms| terms.account.is_some());
    if !named && !linked {
        return WhyUndelivered::AccountUnknown;
    }
    if record.contradicts_itself() {
        return WhyUndelivered::AccountContradicted;
    }
    let worth = terms.map(|terms| terms.worth(id.processor(), &today.catalogs[&today.current], today.scale));
    match worth {
        Some(Err(Unknown::NotAPurchaseOfCredits)) => WhyUndelivered::NotAPurchaseOfCredits,
        Some(Err(Unknown::AmountNoMultiple)) => WhyUndelivered::AmountNoMultiple,
        Some(Err(Unknown::Price) | Ok(_)) | None => WhyUndelivered::PriceUnknown,
    }
}

/// Follows an id, and payments that turned out to be others, to the payment that stands for them.
async fn leads_to(connection: &mut PgConnection, id: &PaymentId) -> Result<Option<String>, Error> {
    sqlx::query_scalar!(
        r#"with recursive way (payment, merged_into) as (
               select p.payment, p.merged_into from payments p
               where p.payment = coalesce((select payment from payment_ids where id = $1), $1)
               union
               select p.payment, p.merged_into from payments p join way on p.payment = way.merged_into
           )
           select payment as "payment!" from way where merged_into is null"#,
        id.as_str(),
    )
    .fetch_optional(connection)
    .await
    .doing("finding the payment of an id")
}

/// What is stored of a payment and no list shows.
struct StoredRecord {
    record: PaymentRecord,
    customer: Option<String>,
    catalog: Option<String>,
}

async fn stored(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Option<(PaymentRow, StoredRecord)>, Error> {
    let row = sqlx::query!(
        r#"select payment, state, account, amount, currency, reversed_amount, held_amount, created_at,
                  (select coalesce(sum(granted), 0) from lots
                   where lot = any(array[p.payment || '#purchase', p.payment || '#bonus'])) as "granted!",
                  record as "record: Json<PaymentRecord>", customers[1] as customer, catalog
           from payments p where payment = $1"#,
        name,
    )
    .fetch_optional(connection)
    .await
    .doing("reading a payment")?;
    Ok(row.map(|row| {
        let line = PaymentRow {
            payment: row.payment,
            state: row.state,
            account: row.account,
            amount: row.amount,
            currency: row.currency,
            reversed_amount: row.reversed_amount,
            held_amount: row.held_amount,
            created_at: row.created_at,
            granted: row.granted,
        };
        (line, StoredRecord { record: row.record.0, customer: row.customer, catalog: row.catalog })
    }))
}

async fn aliases(connection: &mut PgConnection, name: &str) -> Result<Vec<String>, Error> {
    sqlx::query_scalar!(
        r#"select id as "id!" from payment_ids where payment = $1 and id <> $1
           union select payment from payments where merged_into = $1 order by 1 limit $2"#,
        name,
        HISTORY_MAX,
    )
    .fetch_all(connection)
    .await
    .doing("reading a payment's other ids")
}

async fn is_linked(connection: &mut PgConnection, record: &PaymentRecord) -> Result<bool, Error> {
    let customers = record.terms(Reading::TODAY).map(|terms| terms.customers).unwrap_or_default();
    let customers: Vec<String> = customers.into_iter().map(String::from).collect();
    sqlx::query_scalar!(
        r#"select exists (select from customers where customer = any($1) and account is not null) as "linked!""#,
        &customers,
    )
    .fetch_one(connection)
    .await
    .doing("asking whether a customer is linked")
}

async fn facts(connection: &mut PgConnection, names: &[String]) -> Result<Vec<FactLine>, Error> {
    sqlx::query_as!(
        FactLine,
        r#"select source || '/' || id as "fact!", kind, outcome, settled_at from outcomes
           where reader = 'ledger' and payment = any($1) order by settled_at, source, id limit $2"#,
        names,
        HISTORY_MAX,
    )
    .fetch_all(connection)
    .await
    .doing("reading a payment's facts")
}

/// Processors' times come in any offset; what is shown is in UTC.
fn in_utc(mut record: PaymentRecord) -> PaymentRecord {
    fn shift<T>(stated: &mut Stated<T>) {
        stated.at = stated.at.checked_to_offset(UtcOffset::UTC).unwrap_or(stated.at);
    }
    record.descriptions.values_mut().for_each(shift);
    record.movements.values_mut().for_each(shift);
    record.holds.values_mut().for_each(shift);
    record.assignments.values_mut().for_each(shift);
    record.valuations.values_mut().for_each(shift);
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::catalog::Catalog;
    use domain::fact::{AccountLink, LinkProof, Payment, PaymentStatus};
    use domain::money::{Money, currency};
    use time::macros::datetime;

    fn described(accounts: &[&str]) -> PaymentRecord {
        let mut record = PaymentRecord::default();
        for (object, account) in accounts.iter().enumerate() {
            let link = AccountLink {
                by_reference: false,
                account: AccountId::new(*account).unwrap(),
                proof: LinkProof::Stated,
            };
            record.describe("evt_1", &paid(&object.to_string(), Some(link)));
        }
        if accounts.is_empty() {
            record.describe("evt_1", &paid("txn_1", None));
        }
        record
    }

    fn paid(object: &str, account: Option<AccountLink>) -> Payment {
        Payment {
            before_discounts: None,
            purpose: domain::fact::Purpose::default(),
            payment: "paddle:txn_1".parse().unwrap(),
            aliases: Vec::new(),
            object: object.to_owned(),
            precedence: 0,
            status: PaymentStatus::Paid,
            amount: Money::from_minor(1000, 2, currency("USD").unwrap()).unwrap(),
            before_tax: None,
            items: Vec::new(),
            account,
            customer: None,
            ip: None,
            device: None,
            occurred_at: datetime!(2026-11-20 12:00:00 +2),
        }
    }

    #[test]
    fn an_undelivered_payment_tells_what_it_waits_for() {
        let check = |accounts: &[&str], linked, expect| {
            let (id, today) = ("paddle:txn_1".parse().unwrap(), Rules::new(Catalog::default()));
            let why = why_undelivered(&id, &described(accounts), linked, &today);
            assert_eq!(why, expect, "{accounts:?} {linked}");
        };
        check(&[], false, WhyUndelivered::AccountUnknown);
        check(&[], true, WhyUndelivered::PriceUnknown);
        check(&["acct_1"], false, WhyUndelivered::PriceUnknown);
        check(&["acct_1", "acct_2"], false, WhyUndelivered::AccountContradicted);
    }

    #[test]
    fn a_record_is_shown_in_utc() {
        let record = in_utc(described(&[]));
        assert_eq!(record.descriptions["txn_1"].at.offset(), UtcOffset::UTC);
    }
}
