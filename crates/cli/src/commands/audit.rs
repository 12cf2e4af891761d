//! `audit`: what operators did, to anything, in one list.

use super::moment::said_moment_or_ago;
use crate::output::listing;
use crate::output::table::{Column, Style, Table, moment, or_none};
use crate::session::Session;
use anyhow::Result;
use clap::Args;
use db::Doing;
use domain::{AccountId, Outcome};
use facts::audit::{self, ActQuery, PastAct};
use std::collections::BTreeMap;
use std::process::ExitCode;
use time::OffsetDateTime;

pub const HELP: &str =
    "Acts that are facts (grants, adjustments, deliveries of payments, links, ...) with what became of them, what was done with
dead letters, erasures, hand-overs, and whatever else workers let operators do. Filters that are given together must all fit.
More of one place: `bursar ledger acts`, `bursar dlq audit`, `bursar ledger erasures`; `bursar fact show` shows one fact.";

#[derive(Args)]
pub struct AuditArguments {
    /// Only acts about this account, or about what is known to be its
    #[arg(long)]
    account: Option<AccountId>,
    /// Only this operator's
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Only acts about this: the id of an account, payment, customer, fact, dead letter, replay, kind of letters, case, job, ...
    #[arg(long, value_name = "SUBJECT")]
    about: Option<String>,
    /// Done at or after this moment (RFC 3339), or so long ago: 2h
    #[arg(long, value_name = "TIME", value_parser = said_moment_or_ago)]
    since: Option<OffsetDateTime>,
    /// Done before this moment
    #[arg(long, value_name = "TIME", value_parser = said_moment_or_ago)]
    until: Option<OffsetDateTime>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

pub async fn list(session: &Session, arguments: AuditArguments) -> Result<ExitCode> {
    let AuditArguments { account, by, about, since, until, limit } = arguments;
    let query = ActQuery { account, by, about, since, until, limit };
    let mut connection = session.pool.acquire().await.doing("taking a connection")?;
    let acts = audit::acts(&mut connection, &session.readers()?, &query).await?;
    let document = BTreeMap::from([("acts", &acts)]);
    let below = listing::may_go_on(acts.len(), limit);
    listing::print(session.json, &document, &table(&acts), "No acts here.", below)
}

fn table(acts: &[PastAct]) -> Table {
    let mut table = Table::new(&[
        Column::Text("time"),
        Column::Text("by"),
        Column::Text("what"),
        Column::Text("about"),
        Column::Text("outcome"),
        Column::Text("reason"),
    ]);
    for act in acts {
        let about = act.about.as_ref().map(|about| format!("{} {}", about.kind, about.id));
        let cells = vec![
            moment(act.at),
            act.by.clone(),
            act.what.clone(),
            or_none(about.as_deref()),
            outcome(act),
            or_none(act.reason.as_deref()),
        ];
        table.styled_row(style(act), cells);
    }
    table
}

/// What became of a fact; an act that is none has no outcome of its own.
fn outcome(act: &PastAct) -> String {
    match (&act.fact, act.outcome) {
        (None, _) => or_none(None),
        (Some(_), None) => "in flight".to_owned(),
        (Some(_), Some(outcome)) => outcome.as_str().to_owned(),
    }
}

fn style(act: &PastAct) -> Style {
    let took = matches!(act.outcome, Some(Outcome::Applied | Outcome::NoOp | Outcome::Waiting));
    match act.fact.is_none() || took {
        true => Style::Plain,
        false => Style::Bad,
    }
}
