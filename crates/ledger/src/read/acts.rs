//! What operators did: every act as its fact was stored, with who, why and what became of it.

use super::fact::read_fact;
use super::snapshot;
use crate::Ledger;
use bus::Worker;
use db::{Doing, Error, PgConnection, Pool};
use domain::{AccountId, Cause, Outcome};
use facts::Readers;
use facts::outcomes::{self, FactState};
use serde::Serialize;
use std::collections::HashMap;
use time::OffsetDateTime;

/// The source of an operator's facts is this and the operator's name. Nobody else may state facts under it.
pub const OPERATOR: &str = "operator/";

/// One act, as its stored fact states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActLine {
    pub fact: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub by: String,
    pub kind: String,
    pub what: String,
    pub account: Option<String>,
    pub payment: Option<String>,
    pub reason: Option<String>,
    /// Nothing as long as one of its readers has not settled it; the worst, where they made different things of it.
    pub outcome: Option<Outcome>,
    /// How often it was stated again, to no effect.
    pub repeats: i32,
}

/// Which acts to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActFilter {
    /// Only those about this account, or about a payment that is now its.
    pub account: Option<AccountId>,
    /// Only this operator's.
    pub by: Option<String>,
    pub limit: i64,
}

/// The latest acts first.
///
/// # Errors
/// Those of the database, and where a stored fact cannot be read.
pub async fn acts(pool: &Pool, readers: &Readers, filter: &ActFilter) -> Result<Vec<ActLine>, Error> {
    let connection = &mut *snapshot(pool).await?;
    let rows = stated(connection, filter).await?;
    let causes: Vec<Cause> = rows.iter().map(ActRow::cause).collect();
    let states = outcomes::states(connection, readers, &causes).await?;
    let states: HashMap<Cause, FactState> =
        states.into_iter().map(|state| (state.cause.clone(), state)).collect();
    rows.into_iter().map(|row| row.line(&states)).collect()
}

/// The fact of an act, with the payment that it was found to be about and the account that has it now.
struct ActRow {
    source: String,
    id: String,
    kind: String,
    fact: String,
    admitted_at: OffsetDateTime,
    repeats: i32,
    payment: Option<String>,
    holder: Option<String>,
}

impl ActRow {
    fn cause(&self) -> Cause {
        Cause { source: self.source.clone(), id: self.id.clone() }
    }

    fn line(self, states: &HashMap<Cause, FactState>) -> Result<ActLine, Error> {
        let cause = self.cause();
        let fact = read_fact(&self.kind, &self.fact)?;
        let named = fact.account().map(|account| account.as_str().to_owned());
        let about = fact.payment_ids().first().map(|payment| payment.as_str().to_owned());
        Ok(ActLine {
            fact: cause.to_string(),
            at: self.admitted_at,
            by: cause.source.strip_prefix(OPERATOR).unwrap_or(&cause.source).to_owned(),
            kind: self.kind,
            what: fact.act(),
            account: named.or(self.holder),
            payment: self.payment.or(about),
            reason: fact.reason().map(str::to_owned),
            outcome: states.get(&cause).and_then(FactState::outcome),
            repeats: self.repeats,
        })
    }
}

/// The sources are found one by one, by leaps through the inbox's key: there are few of them, and very many facts.
async fn stated(connection: &mut PgConnection, filter: &ActFilter) -> Result<Vec<ActRow>, Error> {
    sqlx::query_as!(
        ActRow,
        r#"with recursive sources as (
               (select source from inbox order by source limit 1)
               union all
               select (select i.source from inbox i where i.source > s.source order by i.source limit 1)
               from sources s where s.source is not null
           )
           select i.source, i.id, i.kind, i.fact, i.admitted_at, i.repeats,
                  f.payment as "payment?", p.account as "holder?"
           from sources s
           join inbox i on i.source = s.source
           left join outcomes f on f.source = i.source and f.id = i.id and f.reader = $5
           left join payments p on p.payment = f.payment
           where starts_with(s.source, $1) and ($2::text is null or s.source = $1 || $2)
             and ($3::text is null or p.account = $3
                  or $3 in (i.fact::jsonb ->> 'account', i.fact::jsonb #>> '{account,account}'))
           order by i.admitted_at desc, i.source, i.id limit $4"#,
        OPERATOR,
        filter.by,
        filter.account.as_ref().map(AccountId::as_str),
        filter.limit,
        Ledger::NAME,
    )
    .fetch_all(connection)
    .await
    .doing("listing operators' acts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_told_in_a_few_words() {
        let check = |kind, data: &str, expect: &str| assert_eq!(read_fact(kind, data).unwrap().act(), expect);
        let by = r#""reason":"r","by":"ada""#;
        let at = r#""occurred_at":"2026-11-20T10:00:00Z""#;
        check("fact.grant", r#"{"account":"a","credits":"5","reason":"r"}"#, "grant 5 promotional");
        check("fact.adjustment", &format!(r#"{{"account":"a","credits":"-5",{by}}}"#), "take 5");
        check(
            "fact.adjustment",
            &format!(r#"{{"account":"a","credits":"5","kind":"write_off",{by}}}"#),
            "write off 5 of debt",
        );
        check(
            "fact.assignment",
            &format!(r#"{{"payment":"paddle:t","act":"deliver","account":"a","credits":"800",{by},{at}}}"#),
            "deliver to a as 800 credits",
        );
        let usd = r#""amount":{"amount":"9.70","currency":"USD"}"#;
        check(
            "fact.valuation",
            &format!(r#"{{"payment":"paddle:t","movement":"dp_1",{usd},{by},{at}}}"#),
            "value dp_1 as 9.70 USD",
        );
        check("fact.customer", &format!(r#"{{"customer":"paddle:ctm_1",{at}}}"#), "link paddle:ctm_1");
    }
}
