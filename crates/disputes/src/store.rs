//! The worker's tables, and what it reads of the ledger's.

use db::{Doing, Error, PgConnection, Work};
use domain::dispute::{CaseRecord, CaseState, RestrictionCause};
use domain::event::DisputeTold;
use domain::fact::{LinkProof, RestrictionKind};
use domain::money::currency;
use domain::record::{PaymentRecord, Reading};
use domain::{AccountId, CaseId, Money, PaymentId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// A case as it is stored. Its columns follow from its record and its payment: see [`DisputeRow::read_again`].
#[derive(Debug, Clone)]
pub struct DisputeRow {
    pub case: CaseId,
    pub payment_ids: BTreeSet<PaymentId>,
    pub payment: Option<PaymentId>,
    pub account: Option<AccountId>,
    pub is_claimed: bool,
    pub record: CaseRecord,
    /// None before the first fact.
    pub state: Option<CaseState>,
    pub reopened: u32,
    /// See [`domain::dispute::Case::epoch`].
    pub epoch: String,
    pub is_early_warning: bool,
    pub opened_at: Option<OffsetDateTime>,
    pub heard_at: Option<OffsetDateTime>,
    pub evidence_due_by: Option<OffsetDateTime>,
    pub amount: Option<Money>,
    pub illegal_steps: usize,
    pub told: Option<Told>,
    pub updated_at: OffsetDateTime,
    /// The account that it belonged to until now. Not stored.
    pub left: Option<AccountId>,
}

/// What events last told of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub state: CaseState,
    pub payment: PaymentId,
    /// Whose event it was.
    pub account: Option<AccountId>,
    pub amount: Option<Money>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub evidence_due_by: Option<OffsetDateTime>,
    pub joined: Option<CaseId>,
}

/// A payment as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentFound {
    pub payment: PaymentId,
    /// None while its credits are undelivered.
    pub account: Option<AccountId>,
    /// Nobody vouches for the account.
    pub is_claimed: bool,
}

/// One reason to restrict an account, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestrictionRow {
    pub since: OffsetDateTime,
    pub ended_at: Option<OffsetDateTime>,
    pub lifted_by: Option<String>,
}

impl RestrictionRow {
    pub fn standing(since: OffsetDateTime) -> Self {
        Self { since, ended_at: None, lifted_by: None }
    }

    pub fn stands(&self) -> bool {
        self.ended_at.is_none()
    }
}

impl Told {
    pub fn of(told: &DisputeTold, account: Option<AccountId>) -> Self {
        Self {
            account,
            state: told.state,
            payment: told.payment.clone(),
            amount: told.amount,
            evidence_due_by: told.evidence_due_by,
            joined: told.joined.clone(),
        }
    }
}

impl DisputeRow {
    fn new(case: CaseId, now: OffsetDateTime) -> Self {
        Self {
            case,
            payment_ids: BTreeSet::new(),
            payment: None,
            account: None,
            is_claimed: false,
            record: CaseRecord::default(),
            state: None,
            reopened: 0,
            epoch: String::new(),
            is_early_warning: false,
            opened_at: None,
            heard_at: None,
            evidence_due_by: None,
            amount: None,
            illegal_steps: 0,
            told: None,
            updated_at: now,
            left: None,
        }
    }

    /// Derives everything from the record once more.
    pub fn read_again(&mut self, now: OffsetDateTime) {
        let Some(case) = self.record.read() else { return };
        self.illegal_steps = case.illegal_steps();
        self.payment_ids = case.payments;
        self.state = Some(case.state);
        self.reopened = case.reopened;
        self.epoch = case.epoch;
        self.is_early_warning = case.is_early_warning;
        self.opened_at = Some(case.opened_at);
        self.heard_at = Some(case.heard_at);
        self.evidence_due_by = case.evidence_due_by;
        self.amount = case.amount;
        self.updated_at = now;
    }
}

/// A row of `disputes` as Postgres has it.
struct StoredDispute {
    dispute: String,
    payment_ids: Vec<String>,
    payment: Option<String>,
    account: Option<String>,
    is_claimed: bool,
    record: Json<CaseRecord>,
    state: Option<String>,
    reopened: i32,
    epoch: String,
    is_early_warning: bool,
    opened_at: Option<OffsetDateTime>,
    heard_at: Option<OffsetDateTime>,
    evidence_due_by: Option<OffsetDateTime>,
    amount: Option<Decimal>,
    currency: Option<String>,
    illegal_steps: i32,
    told: Option<Json<Told>>,
    updated_at: OffsetDateTime,
}

fn stored<T, E: std::fmt::Display>(what: &'static str, read: Result<T, E>) -> Result<T, Error> {
    read.map_err(|error| Error::stored(what, error.to_string()))
}

pub fn money(amount: Option<Decimal>, code: Option<&str>) -> Result<Option<Money>, Error> {
    let Some((amount, code)) = amount.zip(code) else { return Ok(None) };
    let currency = stored("a currency", currency(code))?;
    stored("an amount", Money::new(amount, currency)).map(Some)
}

impl StoredDispute {
    fn read(self) -> Result<DisputeRow, Error> {
        let ids = self.payment_ids.into_iter().map(|id| stored("a payment id", id.parse()));
        Ok(DisputeRow {
            case: stored("a dispute id", self.dispute.parse())?,
            payment_ids: ids.collect::<Result<_, _>>()?,
            payment: self.payment.map(|id| stored("a payment id", id.parse())).transpose()?,
            account: self.account.map(|id| stored("an account id", id.parse())).transpose()?,
            is_claimed: self.is_claimed,
            record: self.record.0,
            state: self.state.map(|state| stored("a dispute's state", state.parse())).transpose()?,
            reopened: stored("a count", self.reopened.try_into())?,
            epoch: self.epoch,
            is_early_warning: self.is_early_warning,
            opened_at: self.opened_at,
            heard_at: self.heard_at,
            evidence_due_by: self.evidence_due_by,
            amount: money(self.amount, self.currency.as_deref())?,
            illegal_steps: stored("a count", self.illegal_steps.try_into())?,
            told: self.told.map(|told| told.0),
            updated_at: self.updated_at,
            left: None,
        })
    }
}

/// Locks cases in their order. Those that nobody has spoken of get a row first: a missing one cannot be locked.
pub async fn lock(work: &mut Work, cases: &BTreeSet<CaseId>) -> Result<BTreeMap<CaseId, DisputeRow>, Error> {
    if cases.is_empty() {
        return Ok(BTreeMap::new());
    }
    let now = work.now;
    let names: Vec<&str> = cases.iter().map(CaseId::as_str).collect();
    sqlx::query!(
        "insert into disputes (dispute, payment_ids, record, created_at, updated_at)
         select dispute, '{}', '{\"observations\":{}}', $2, $2 from unnest($1::text[]) as n (dispute)
         where not exists (select from disputes d where d.dispute = n.dispute) order by dispute
         on conflict do nothing",
        &names as _,
        now,
    )
    .execute(work.connection().await?)
    .await
    .doing("opening disputes")?;
    let rows = sqlx::query_as!(
        StoredDispute,
        r#"select dispute, payment_ids, payment, account, is_claimed, record as "record: Json<CaseRecord>", state, reopened, epoch,
                  is_early_warning, opened_at, heard_at, evidence_due_by, amount, currency, illegal_steps,
                  told as "told: Json<Told>", updated_at
           from disputes where dispute = any($1::text[]) order by dispute for update"#,
        &names as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("locking disputes")?;
    let mut locked: BTreeMap<CaseId, DisputeRow> =
        cases.iter().map(|case| (case.clone(), DisputeRow::new(case.clone(), now))).collect();
    for row in rows {
        let row = row.read()?;
        locked.insert(row.case.clone(), row);
    }
    Ok(locked)
}

/// Early warnings about the payments that these ids lead to now: a dispute of the same payment takes them over.
pub async fn early_warnings(work: &mut Work, ids: &BTreeSet<PaymentId>) -> Result<Vec<CaseId>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = ids.iter().map(PaymentId::as_str).collect();
    let rows = sqlx::query_scalar!(
        r#"select d.dispute from payment_ids i join disputes d on d.payment = i.payment
           where i.id = any($1::text[]) and d.is_early_warning"#,
        &names as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("looking for early warnings")?;
    rows.iter().map(|id| stored("a dispute id", id.parse())).collect()
}

/// The other cases of these accounts, and of the payments that the named cases are about, without what was said of each. The
/// accounts' rows are held, so nobody changes those of the accounts.
pub async fn beside(
    work: &mut Work,
    accounts: &BTreeSet<AccountId>,
    payments: &BTreeSet<PaymentId>,
    named: &BTreeSet<CaseId>,
) -> Result<Vec<DisputeRow>, Error> {
    if accounts.is_empty() && payments.is_empty() {
        return Ok(Vec::new());
    }
    let accounts: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
    let payments: Vec<&str> = payments.iter().map(PaymentId::as_str).collect();
    let named: Vec<&str> = named.iter().map(CaseId::as_str).collect();
    let rows = sqlx::query_as!(
        StoredDispute,
        r#"select dispute, payment_ids, payment, account, is_claimed, json '{"observations":{}}' as "record!: Json<CaseRecord>", state,
                  reopened, epoch, is_early_warning, opened_at, heard_at, evidence_due_by, amount, currency, illegal_steps,
                  told as "told: Json<Told>", updated_at
           from disputes
           where (account = any($1::text[]) or payment = any($2::text[])) and dispute <> all($3::text[])"#,
        &accounts as _,
        &payments as _,
        &named as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("reading the other disputes of accounts")?;
    rows.into_iter().map(StoredDispute::read).collect()
}

/// The payments that these ids lead to, as the ledger has them now. Shells are none yet.
pub async fn payments(
    work: &mut Work,
    ids: &BTreeSet<PaymentId>,
) -> Result<BTreeMap<PaymentId, PaymentFound>, Error> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names: Vec<&str> = ids.iter().map(PaymentId::as_str).collect();
    let rows = sqlx::query!(
        r#"select i.id, p.payment, p.account, p.record as "record: Json<PaymentRecord>"
           from payment_ids i join payments p on p.payment = i.payment
           where i.id = any($1::text[]) and p.state in ('undelivered', 'delivered')"#,
        &names as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("looking for the payments of disputes")?;
    rows.into_iter()
        .map(|row| {
            let account = row.account.map(|id| stored("an account id", id.parse())).transpose()?;
            let found = PaymentFound {
                payment: stored("a payment id", row.payment.parse())?,
                is_claimed: account.as_ref().is_some_and(|account| is_claimed(&row.record.0, account)),
                account,
            };
            Ok((stored("a payment id", row.id.parse())?, found))
        })
        .collect()
}

/// Whether nobody vouches that the payment is this account's.
fn is_claimed(record: &PaymentRecord, account: &AccountId) -> bool {
    let link = record.terms(Reading::TODAY).and_then(|terms| terms.account);
    link.is_some_and(|link| link.account == *account && link.proof == LinkProof::Claimed)
}

/// Every reason to restrict these accounts, whether it stands or not.
pub async fn restrictions(
    work: &mut Work,
    accounts: &BTreeSet<AccountId>,
) -> Result<BTreeMap<AccountId, BTreeMap<RestrictionCause, RestrictionRow>>, Error> {
    let mut found: BTreeMap<AccountId, BTreeMap<RestrictionCause, RestrictionRow>> = BTreeMap::new();
    if accounts.is_empty() {
        return Ok(found);
    }
    let names: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
    let rows = sqlx::query!(
        "select account, kind, cause_kind, cause, stage, since, ended_at, lifted_by
         from restrictions where account = any($1::text[])",
        &names as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("reading restrictions")?;
    for row in rows {
        let cause = RestrictionCause {
            kind: stored("a restriction", row.kind.parse::<RestrictionKind>())?,
            cause_kind: stored("a cause", row.cause_kind.parse())?,
            cause: row.cause,
            stage: row.stage,
        };
        let restriction =
            RestrictionRow { since: row.since, ended_at: row.ended_at, lifted_by: row.lifted_by };
        let account: AccountId = stored("an account id", row.account.parse())?;
        found.entry(account).or_default().insert(cause, restriction);
    }
    Ok(found)
}

/// Writes cases whose rows are locked. One statement.
pub async fn save(work: &mut Work, cases: &[&DisputeRow]) -> Result<(), Error> {
    if cases.is_empty() {
        return Ok(());
    }
    let rows: Vec<serde_json::Value> = cases.iter().map(|row| row.to_json()).collect();
    sqlx::query!(
        "update disputes d set payment_ids = n.payment_ids, payment = n.payment, account = n.account, is_claimed = n.is_claimed,
                record = n.record, state = n.state, reopened = n.reopened, epoch = n.epoch,
                is_early_warning = n.is_early_warning,
                opened_at = n.opened_at, heard_at = n.heard_at, evidence_due_by = n.evidence_due_by, amount = n.amount,
                currency = n.currency, illegal_steps = n.illegal_steps, told = n.told, updated_at = n.updated_at
         from json_populate_recordset(null::disputes, $1::json) n
         where d.dispute = n.dispute",
        serde_json::Value::Array(rows) as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing disputes")?;
    Ok(())
}

impl DisputeRow {
    fn to_json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct Columns<'a> {
            dispute: &'a CaseId,
            payment_ids: &'a BTreeSet<PaymentId>,
            payment: &'a Option<PaymentId>,
            account: &'a Option<AccountId>,
            is_claimed: bool,
            record: &'a CaseRecord,
            state: Option<CaseState>,
            reopened: u32,
            epoch: &'a str,
            is_early_warning: bool,
            #[serde(with = "time::serde::rfc3339::option")]
            opened_at: Option<OffsetDateTime>,
            #[serde(with = "time::serde::rfc3339::option")]
            heard_at: Option<OffsetDateTime>,
            #[serde(with = "time::serde::rfc3339::option")]
            evidence_due_by: Option<OffsetDateTime>,
            amount: Option<Decimal>,
            currency: Option<&'a str>,
            illegal_steps: usize,
            told: &'a Option<Told>,
            #[serde(with = "time::serde::rfc3339")]
            updated_at: OffsetDateTime,
        }
        let columns = Columns {
            dispute: &self.case,
            payment_ids: &self.payment_ids,
            payment: &self.payment,
            account: &self.account,
            is_claimed: self.is_claimed,
            record: &self.record,
            state: self.state,
            reopened: self.reopened,
            epoch: &self.epoch,
            is_early_warning: self.is_early_warning,
            opened_at: self.opened_at,
            heard_at: self.heard_at,
            evidence_due_by: self.evidence_due_by,
            amount: self.amount.map(|amount| amount.amount()),
            currency: self.amount.map(|amount| amount.currency().code()),
            illegal_steps: self.illegal_steps,
            told: &self.told,
            updated_at: self.updated_at,
        };
        serde_json::to_value(columns).expect("it holds texts, numbers and times")
    }
}

/// Writes reasons to restrict accounts whose rows are held. One statement.
pub async fn save_restrictions(
    work: &mut Work,
    changed: &[(&AccountId, &RestrictionCause, &RestrictionRow)],
) -> Result<(), Error> {
    if changed.is_empty() {
        return Ok(());
    }
    let accounts: Vec<&str> = changed.iter().map(|(account, ..)| account.as_str()).collect();
    let kinds: Vec<&str> = changed.iter().map(|(_, cause, _)| cause.kind.as_str()).collect();
    let cause_kinds: Vec<&str> = changed.iter().map(|(_, cause, _)| cause.cause_kind.as_str()).collect();
    let causes: Vec<&str> = changed.iter().map(|(_, cause, _)| cause.cause.as_str()).collect();
    let stages: Vec<&str> = changed.iter().map(|(_, cause, _)| cause.stage.as_str()).collect();
    let since: Vec<OffsetDateTime> = changed.iter().map(|(.., row)| row.since).collect();
    let ended: Vec<Option<OffsetDateTime>> = changed.iter().map(|(.., row)| row.ended_at).collect();
    let lifted: Vec<Option<&str>> = changed.iter().map(|(.., row)| row.lifted_by.as_deref()).collect();
    sqlx::query!(
        "insert into restrictions (account, kind, cause_kind, cause, stage, since, ended_at, lifted_by)
         select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
                              $8::text[])
         on conflict (account, kind, cause_kind, cause, stage)
         do update set since = excluded.since, ended_at = excluded.ended_at, lifted_by = excluded.lifted_by",
        &accounts as _,
        &kinds as _,
        &cause_kinds as _,
        &causes as _,
        &stages as _,
        &since as _,
        &ended as _,
        &lifted as _,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing restrictions")?;
    Ok(())
}

/// Cases that wait for their payment, which is known, or somebody's, by now; those that came since a moment.
pub async fn behind(
    connection: &mut PgConnection,
    since: OffsetDateTime,
    limit: i64,
) -> Result<Vec<(CaseId, Vec<PaymentId>)>, Error> {
    let rows = sqlx::query_file!("src/store/behind.sql", limit, since)
        .fetch_all(connection)
        .await
        .doing("looking for disputes whose payment is known by now")?;
    rows.into_iter().map(|row| case_and_ids(&row.dispute, &row.payment_ids)).collect()
}

/// Cases that belong to another account, or to another case, by now.
pub async fn astray(
    connection: &mut PgConnection,
    limit: i64,
) -> Result<Vec<(CaseId, Vec<PaymentId>)>, Error> {
    let rows = sqlx::query_file!("src/store/astray.sql", limit)
        .fetch_all(connection)
        .await
        .doing("looking for disputes whose payment went elsewhere")?;
    rows.into_iter().map(|row| case_and_ids(&row.dispute, &row.payment_ids)).collect()
}

fn case_and_ids(case: &str, ids: &[String]) -> Result<(CaseId, Vec<PaymentId>), Error> {
    let ids = ids.iter().map(|id| stored("a payment id", id.parse()));
    Ok((stored("a dispute id", case.parse())?, ids.collect::<Result<_, Error>>()?))
}
