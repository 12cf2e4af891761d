//! A case whole: how it stands, what it restricts, and all that happened.

use super::list::{DisputeFilter, DisputeLine, in_utc, line, list, stored};
use super::restrictions::{RestrictionLine, of_case};
use super::snapshot;
use super::timeline::{Happening, Heard, Moment, Noted, timeline, with_journal};
use db::{Doing, Error, PgConnection, Pool};
use domain::dispute::{Case, CaseRecord};
use domain::{AccountId, CaseId, Money, PaymentId};
use jobs::TransactionView;
use serde::Serialize;
use sqlx::types::Json;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Of notes the latest so many are shown, of an account's or payment's other cases the first.
const SHOWN_MAX: i64 = 200;

/// `bursar dispute show --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseView {
    #[serde(flatten)]
    pub line: DisputeLine,
    /// The processor's code: `fraudulent`.
    pub reason: Option<String>,
    /// The card network's code: Visa's `10.4`.
    pub network_reason: Option<String>,
    /// What the processor took for the round that stands, as far as it said so.
    pub fee: Option<Money>,
    /// Whether the processor would still refund the payment, where it said so.
    pub is_refundable: Option<bool>,
    /// The ids of the purchase that it was told by.
    pub payment_ids: Vec<String>,
    /// What it restricts and did, the latest first.
    pub restriction_history: Vec<RestrictionLine>,
    pub history: Vec<Moment>,
    /// Other cases of the same payment and of the same account.
    pub beside: Vec<DisputeLine>,
    /// How it reads.
    #[serde(skip)]
    pub case: Case,
}

impl CaseView {
    /// With what the journal moved of the payment in its history: at the step that came with the same delivery, or between.
    pub fn with_journal(mut self, transactions: &[TransactionView]) -> Self {
        with_journal(&self.line.dispute, &mut self.history, transactions);
        self
    }
}

/// A case as it is now; nothing where nobody has spoken of it.
///
/// # Errors
/// Those of the database.
pub async fn case(pool: &Pool, id: &CaseId, now: OffsetDateTime) -> Result<Option<CaseView>, Error> {
    let connection = &mut *snapshot(pool).await?;
    within(connection, id, now).await
}

/// As [`case`], within a snapshot of the caller's.
pub(crate) async fn within(
    connection: &mut PgConnection,
    id: &CaseId,
    now: OffsetDateTime,
) -> Result<Option<CaseView>, Error> {
    let Some(line) = line(connection, id, now).await? else { return Ok(None) };
    let Some((record, case)) = recorded(connection, id).await? else { return Ok(None) };
    let heard = heard(connection, &record).await?;
    let restriction_history = of_case(connection, id).await?;
    let notes = notes(connection, id).await?;
    let history = timeline(&record, &case, &heard, &restriction_history, notes);
    let beside = beside(connection, &line, now).await?;
    Ok(Some(CaseView {
        reason: reason(&record, &case, &heard),
        network_reason: case.network_reason.clone(),
        fee: case.fee,
        is_refundable: case.is_refundable,
        payment_ids: case.payments.iter().map(|id| id.as_str().to_owned()).collect(),
        restriction_history,
        history,
        beside,
        line,
        case,
    }))
}

/// The processor's last word on why.
fn reason(record: &CaseRecord, case: &Case, heard: &BTreeMap<String, Heard>) -> Option<String> {
    let of_processor = |cause: &&str| record.observations.get(*cause).is_some_and(|seen| seen.by.is_none());
    let causes = case.steps.iter().rev().map(|step| step.cause.as_str());
    causes.filter(of_processor).find_map(|cause| heard.get(cause)?.reason.clone())
}

async fn recorded(connection: &mut PgConnection, id: &CaseId) -> Result<Option<(CaseRecord, Case)>, Error> {
    let record = sqlx::query_scalar!(
        r#"select record as "record: Json<CaseRecord>" from disputes where dispute = $1"#,
        id.as_str(),
    )
    .fetch_optional(connection)
    .await
    .doing("reading a dispute's record")?;
    Ok(record.and_then(|record| {
        let case = record.0.read()?;
        Some((record.0, case))
    }))
}

/// What is known of the facts about a case: the words of people stand there alone.
async fn heard(connection: &mut PgConnection, record: &CaseRecord) -> Result<BTreeMap<String, Heard>, Error> {
    let (mut sources, mut ids) = (Vec::new(), Vec::new());
    for (cause, seen) in &record.observations {
        let id = cause.strip_prefix(&seen.source).and_then(|rest| rest.strip_prefix('/'));
        sources.push(seen.source.as_str());
        ids.push(id.unwrap_or_default());
    }
    let rows = sqlx::query!(
        r#"select i.source || '/' || i.id as "cause!", i.admitted_at, i.fact::json ->> 'reason' as reason,
                  o.settled_at as "settled_at?"
           from unnest($1::text[], $2::text[]) n (source, id)
           join inbox i on i.source = n.source and i.id = n.id
           left join outcomes o on o.source = i.source and o.id = i.id and o.reader = 'disputes'"#,
        &sources as _,
        &ids as _,
    )
    .fetch_all(connection)
    .await
    .doing("reading the facts about a dispute")?;
    let heard = rows.into_iter().map(|row| {
        let settled_at = row.settled_at.map(in_utc);
        (row.cause, Heard { admitted_at: in_utc(row.admitted_at), settled_at, reason: row.reason })
    });
    Ok(heard.collect())
}

async fn notes(connection: &mut PgConnection, id: &CaseId) -> Result<Vec<Moment>, Error> {
    let rows = sqlx::query!(
        r#"select at, by, coalesce(reason, '') as "text!" from audit
           where subject = $1 and subject_kind = 'case' and act = 'note' order by at desc limit $2"#,
        id.as_str(),
        SHOWN_MAX,
    )
    .fetch_all(connection)
    .await
    .doing("reading notes on a dispute")?;
    let note = |at, by, text| Moment { at: in_utc(at), what: Happening::Note(Noted { by, text }) };
    Ok(rows.into_iter().map(|row| note(row.at, row.by, row.text)).collect())
}

/// Other cases of the same payment, and of the same account.
async fn beside(
    connection: &mut PgConnection,
    own: &DisputeLine,
    now: OffsetDateTime,
) -> Result<Vec<DisputeLine>, Error> {
    let all = DisputeFilter { limit: SHOWN_MAX, ..DisputeFilter::default() };
    let mut found: Vec<DisputeLine> = Vec::new();
    if let Some(payment) = &own.payment {
        let payment: PaymentId = stored("a payment id", payment.parse())?;
        found = list(connection, &DisputeFilter { payment: Some(payment), ..all.clone() }, now).await?;
    }
    if let Some(account) = &own.account {
        let account: AccountId = stored("an account id", account.parse())?;
        let of_account = list(connection, &DisputeFilter { account: Some(account), ..all }, now).await?;
        let is_new = |line: &DisputeLine| !found.iter().any(|known| known.dispute == line.dispute);
        let more: Vec<DisputeLine> = of_account.into_iter().filter(is_new).collect();
        found.extend(more);
    }
    found.retain(|line| line.dispute != own.dispute);
    Ok(found)
}
