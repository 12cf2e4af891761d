//! The table `audit`, and the one list of what operators did.

use super::{ActQuery, ActSubject, OperatorAct, PastAct};
use crate::Readers;
use crate::outcomes::{self, FactState};
use db::{Doing, Error, PgConnection, Work};
use domain::{AccountId, Cause, Fact, FactKind};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqlx::Connection;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// Writes an act down in the transaction that carries it out.
///
/// # Errors
/// Where the statement fails: also where nobody does it, or where a word is none.
pub async fn write(work: &mut Work, act: OperatorAct<'_>) -> Result<(), Error> {
    let now = work.now;
    sqlx::query!(
        "insert into audit (at, by, worker, act, subject_kind, subject, account, reason, details)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        now,
        act.by,
        act.worker,
        act.act,
        act.subject.kind,
        act.subject.id,
        act.account.map(AccountId::as_str),
        act.reason,
        act.details,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing an act down")?;
    Ok(())
}

/// A row of the list, whichever place it comes from.
struct Row {
    at: OffsetDateTime,
    by: String,
    worker: Option<String>,
    act: String,
    subject_kind: Option<String>,
    subject: Option<String>,
    account: Option<String>,
    reason: Option<String>,
    details: Option<Value>,
    source: Option<String>,
    id: Option<String>,
    fact: Option<String>,
    repeats: i32,
}

/// The latest acts first.
///
/// # Errors
/// Where Postgres does not answer, or a stored fact cannot be read.
pub async fn acts(
    connection: &mut PgConnection,
    readers: &Readers,
    query: &ActQuery,
) -> Result<Vec<PastAct>, Error> {
    let rows = rows(connection, query).await?;
    let causes: Vec<Cause> = rows.iter().filter_map(Row::cause).collect();
    let states = outcomes::states(connection, readers, &causes).await?;
    let states: BTreeMap<Cause, FactState> =
        states.into_iter().map(|state| (state.cause.clone(), state)).collect();
    rows.into_iter().map(|row| row.read(&states)).collect()
}

/// Rows are looked up by their keys: of an operator's source Postgres expects very many facts, and would read the whole inbox
/// for each.
async fn rows(connection: &mut PgConnection, query: &ActQuery) -> Result<Vec<Row>, Error> {
    let mut transaction = connection.begin_with("begin read only").await.doing("listing operators' acts")?;
    sqlx::query!(
        "select set_config('enable_seqscan', 'off', true) as scans, set_config('enable_hashjoin', 'off', true) as hashes,
                set_config('enable_mergejoin', 'off', true) as merges, set_config('jit', 'off', true) as jit"
    )
    .fetch_one(&mut *transaction)
    .await
    .doing("listing operators' acts")?;
    let rows = sqlx::query_file_as!(
        Row,
        "src/audit/acts.sql",
        query.account.as_ref().map(AccountId::as_str),
        query.by,
        query.about,
        query.about.as_deref().and_then(|about| Uuid::try_parse(about).ok()),
        query.since,
        query.until,
        query.limit,
    )
    .fetch_all(&mut *transaction)
    .await
    .doing("listing operators' acts")?;
    transaction.commit().await.doing("listing operators' acts")?;
    Ok(rows)
}

impl Row {
    fn cause(&self) -> Option<Cause> {
        Some(Cause { source: self.source.clone()?, id: self.id.clone()? })
    }

    fn read(self, states: &BTreeMap<Cause, FactState>) -> Result<PastAct, Error> {
        match self.cause() {
            Some(cause) => self.stated(&cause, states.get(&cause)),
            None => Ok(self.written()),
        }
    }

    /// An act that is a fact: what it is, why and about what stands in the fact.
    fn stated(self, cause: &Cause, state: Option<&FactState>) -> Result<PastAct, Error> {
        let fact = read_fact(&self.act, self.fact.as_deref().unwrap_or_default())?;
        let named = fact.account().map(|account| account.as_str().to_owned());
        Ok(PastAct {
            at: self.at,
            by: self.by,
            worker: None,
            what: fact.act(),
            about: case_of(&fact)
                .or_else(|| subject(self.subject_kind, self.subject))
                .or_else(|| subject_of(&fact)),
            account: named.or(self.account),
            reason: fact.reason().map(str::to_owned),
            fact: Some(cause.to_string()),
            outcome: state.and_then(FactState::outcome),
            details: Some(json!({ "repeats": self.repeats })),
            act: self.act,
        })
    }

    fn written(self) -> PastAct {
        PastAct {
            at: self.at,
            by: self.by,
            what: what(&self.act, self.worker.as_deref(), self.details.as_ref()),
            act: self.act,
            worker: self.worker,
            about: subject(self.subject_kind, self.subject),
            account: self.account,
            reason: self.reason,
            fact: None,
            outcome: None,
            details: self.details,
        }
    }
}

fn subject(kind: Option<String>, id: Option<String>) -> Option<ActSubject> {
    kind.zip(id).map(|(kind, id)| ActSubject { kind, id })
}

/// The case, where an operator spoke of one.
fn case_of(fact: &Fact) -> Option<ActSubject> {
    match fact {
        Fact::Dispute(dispute) => Some(ActSubject::new("case", dispute.case().ok()?.as_str())),
        _ => None,
    }
}

/// What a fact says that it is about: a payment before the customer, the customer before the account.
fn subject_of(fact: &Fact) -> Option<ActSubject> {
    let payment = fact.payment_ids().first().map(|payment| ActSubject::new("payment", payment.as_str()));
    let customer = || fact.customer().map(|customer| ActSubject::new("customer", customer.as_str()));
    let account = || fact.account().map(|account| ActSubject::new("account", account.as_str()));
    payment.or_else(customer).or_else(account)
}

fn read_fact(kind: &str, text: &str) -> Result<Fact, Error> {
    let kind = FactKind::parse(kind).ok_or_else(|| Error::stored("a fact's kind", kind))?;
    let text = RawValue::from_string(text.to_owned()).map_err(|error| Error::stored("a fact", error))?;
    Fact::parse(kind, &text).map_err(|error| Error::stored("a fact", error))
}

/// An act in a few words: where it was done, and what it reached. `dead-letters: discard (3 letters)`.
fn what(act: &str, worker: Option<&str>, details: Option<&Value>) -> String {
    let act = act.replace('_', " ");
    let at = worker.map_or(String::new(), |worker| format!("{worker}: "));
    let reached: Vec<String> = COUNTED
        .iter()
        .filter_map(|(name, one)| match details?.get(name)?.as_i64()? {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {name}")),
        })
        .collect();
    match reached.is_empty() {
        true => format!("{at}{act}"),
        false => format!("{at}{act} ({})", reached.join(", ")),
    }
}

/// What an act's details count, of many and of one.
const COUNTED: [(&str, &str); 3] = [("facts", "fact"), ("bodies", "body"), ("letters", "letter")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_told_in_a_few_words() {
        let check =
            |act, worker, details: Value, expect: &str| assert_eq!(what(act, worker, Some(&details)), expect);
        check("discard", Some("dead-letters"), json!({ "letters": 3 }), "dead-letters: discard (3 letters)");
        check(
            "erase",
            Some("gate"),
            json!({ "letters": 0, "facts": 2, "bodies": 1 }),
            "gate: erase (2 facts, 1 body)",
        );
        check("declare_failed", Some("jobs"), json!({ "attempt": 2 }), "jobs: declare failed");
        assert_eq!(what("note", None, None), "note");
    }
}
