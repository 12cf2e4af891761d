//! A stored fact, and everything that it brought about: each entry of the journal leads to its cause.

use super::snapshot;
use super::statement::{TransactionView, transactions_of_cause};
use crate::Ledger;
use bus::Worker;
use db::outbox::StoredEvent;
use db::{Doing, Error, PgConnection, Pool};
use domain::fact::{Fact, FactKind};
use domain::{AccountId, Cause};
use facts::outcomes::ReaderOutcome;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::types::Json;
use time::OffsetDateTime;

/// A fact brings about a handful of transactions and events; a link that delivers more payments than this is looked into
/// with SQL.
const EFFECTS_MAX: i64 = 500;

/// `bursar fact show --json`.
#[derive(Debug, Clone, Serialize)]
pub struct FactView {
    pub fact: String,
    pub kind: String,
    /// What it says, as it was admitted.
    pub data: Box<RawValue>,
    /// When it happened, as its source states.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub admitted_at: OffsetDateTime,
    /// When it was understood, where nobody understood it at first.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub recognised_at: Option<OffsetDateTime>,
    /// Since when what people wrote into it is gone.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<OffsetDateTime>,
    /// The fact that it says more of, where it is what a further rendering of one event added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adds_to: Option<String>,
    /// How often it came again and was stopped.
    pub repeats: i32,
    /// What the ledger made of it; nothing as long as it has not read it.
    pub settled: Option<FactSettlement>,
    /// What each of its readers made of it.
    pub outcomes: Vec<ReaderOutcome>,
    pub transactions: Vec<TransactionView>,
    pub events: Vec<Value>,
}

/// What the ledger made of a fact, and what decided it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FactSettlement {
    pub outcome: String,
    #[serde(with = "time::serde::rfc3339")]
    pub settled_at: OffsetDateTime,
    /// Its place in the order in which facts were settled.
    pub position: i64,
    /// The payment that it was found to be about.
    pub payment: Option<String>,
    /// The rules that held then, and the version of their catalog; nothing where it was settled before rules were kept.
    pub rules: Option<Json<Value>>,
}

/// What the gate admitted under an identity.
#[derive(Debug, Clone)]
pub struct AdmittedFact {
    pub kind: String,
    /// The canonical text.
    pub fact: String,
    pub time: OffsetDateTime,
    pub admitted_at: OffsetDateTime,
    pub recognised_at: Option<OffsetDateTime>,
    pub erased_at: Option<OffsetDateTime>,
    pub adds_to: Option<String>,
    pub repeats: i32,
}

impl AdmittedFact {
    /// The fact itself.
    ///
    /// # Errors
    /// Where the stored text is no fact of its kind.
    pub fn read(&self) -> Result<Fact, Error> {
        read_fact(&self.kind, &self.fact)
    }
}

/// A stored fact; an error where its text is no fact of its kind.
pub(super) fn read_fact(kind: &str, text: &str) -> Result<Fact, Error> {
    let kind = FactKind::parse(kind).ok_or_else(|| Error::stored("a fact's kind", kind))?;
    Fact::parse(kind, &raw(text)?).map_err(|error| Error::stored("a fact", error))
}

fn raw(text: &str) -> Result<Box<RawValue>, Error> {
    RawValue::from_string(text.to_owned()).map_err(|error| Error::stored("a fact", error))
}

/// What was admitted under this identity; nothing where nothing was.
///
/// # Errors
/// Those of the database.
pub async fn admitted(pool: &Pool, cause: &Cause) -> Result<Option<AdmittedFact>, Error> {
    stored(&mut *snapshot(pool).await?, cause).await
}

async fn stored(connection: &mut PgConnection, cause: &Cause) -> Result<Option<AdmittedFact>, Error> {
    sqlx::query_as!(
        AdmittedFact,
        "select kind, fact, time, admitted_at, recognised_at, erased_at, source || '/' || adds_to as adds_to, repeats
          from inbox where source = $1 and id = $2",
        cause.source,
        cause.id,
    )
    .fetch_optional(connection)
    .await
    .doing("reading a fact")
}

/// The fact with everything that it brought about; nothing where none was admitted under this identity.
///
/// # Errors
/// Those of the database, and where the stored fact or an event cannot be read.
pub async fn fact(pool: &Pool, cause: &Cause) -> Result<Option<FactView>, Error> {
    let connection = &mut *snapshot(pool).await?;
    let Some(admitted) = stored(connection, cause).await? else { return Ok(None) };
    let settled = settlement(connection, cause).await?;
    let outcomes = facts::outcomes::of(connection, cause).await?;
    let payment = settled.as_ref().and_then(|settled| settled.payment.as_deref());
    let accounts = accounts_concerned(connection, &admitted.read()?, payment).await?;
    let transactions = transactions_of_cause(connection, &accounts, cause, EFFECTS_MAX).await?;
    let events = match &settled {
        Some(settled) => events(connection, &accounts, cause, settled.settled_at).await?,
        None => Vec::new(),
    };
    Ok(Some(FactView {
        fact: cause.to_string(),
        data: raw(&admitted.fact)?,
        kind: admitted.kind,
        time: admitted.time,
        admitted_at: admitted.admitted_at,
        recognised_at: admitted.recognised_at,
        erased_at: admitted.erased_at,
        adds_to: admitted.adds_to,
        repeats: admitted.repeats,
        settled,
        outcomes,
        transactions,
        events,
    }))
}

/// What the ledger made of a fact; nothing as long as it has not read it.
pub(super) async fn settlement(
    connection: &mut PgConnection,
    cause: &Cause,
) -> Result<Option<FactSettlement>, Error> {
    sqlx::query_as!(
        FactSettlement,
        r#"select outcome, settled_at, position, payment, r.content as "rules?: Json<Value>"
           from outcomes f left join rules_versions r using (rules)
           where source = $1 and id = $2 and reader = $3"#,
        cause.source,
        cause.id,
        Ledger::NAME,
    )
    .fetch_optional(connection)
    .await
    .doing("reading what became of a fact")
}

/// The accounts that a fact may have changed: those it names, its payment's then and now, its customer's. Transactions are
/// found by their account and not by their cause, for which a journal needs no index.
pub(super) async fn accounts_concerned(
    connection: &mut PgConnection,
    fact: &Fact,
    payment: Option<&str>,
) -> Result<Vec<String>, Error> {
    let customer = match fact {
        Fact::Customer(customer) => Some(customer.customer.as_str()),
        _ => None,
    };
    sqlx::query_scalar!(
        r#"select account as "account!" from (
               select $1::text as account
               union select account from payments where payment = $2
               union select account from transactions where payment = $2
               union select account from customers where customer = $3
           ) a where account is not null"#,
        fact.account().map(AccountId::as_str),
        payment,
        customer,
    )
    .fetch_all(connection)
    .await
    .doing("finding the accounts that a fact concerns")
}

/// An event has the time at which its cause was settled.
async fn events(
    connection: &mut PgConnection,
    accounts: &[String],
    cause: &Cause,
    settled_at: OffsetDateTime,
) -> Result<Vec<Value>, Error> {
    let events = sqlx::query_as!(
        StoredEvent,
        r#"select id, source, account, sequence, type as kind, time, cause, traceparent,
                  data as "data: Json<Box<RawValue>>", hash as "hash: _"
           from events where (account = any($1) or account is null) and time = $2 and cause = $3
           order by account nulls first, sequence limit $4"#,
        accounts,
        settled_at,
        cause.to_string(),
        EFFECTS_MAX,
    )
    .fetch_all(connection)
    .await
    .doing("reading the events of a fact")?;
    events
        .iter()
        .map(|event| serde_json::from_str(&event.to_json()).map_err(|error| Error::stored("an event", error)))
        .collect()
}
