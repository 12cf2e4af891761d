//! `ledger acts`: what operators did.

use super::{say, say_json};
use crate::session::Session;
use crate::table::{Column, Style, Table, moment, or_none};
use anyhow::Result;
use domain::Outcome;
use ledger::read::{self, ActFilter, ActLine};
use std::collections::BTreeMap;
use std::process::ExitCode;

pub async fn list(session: &Session, filter: &ActFilter) -> Result<ExitCode> {
    let acts = read::acts(&session.pool, &session.readers()?, filter).await?;
    if session.json {
        say_json(&BTreeMap::from([("acts", &acts)]))?;
        return Ok(ExitCode::SUCCESS);
    }
    let table = table(&acts);
    say(&if table.is_empty() { "No acts here.".to_owned() } else { table.to_string() });
    if acts.len() as i64 == filter.limit {
        say(&Style::Dim.paint(&format!("There may be more: --limit {}", (filter.limit * 10).min(10_000))));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(acts: &[ActLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("time"),
        Column::Text("by"),
        Column::Text("what"),
        Column::Text("account"),
        Column::Text("payment"),
        Column::Text("outcome"),
        Column::Text("reason"),
        Column::Text("fact"),
    ]);
    for act in acts {
        let took = matches!(act.outcome, Some(Outcome::Applied | Outcome::NoOp | Outcome::Waiting));
        let cells = vec![
            moment(act.at),
            act.by.clone(),
            act.what.clone(),
            or_none(act.account.as_deref()),
            or_none(act.payment.as_deref()),
            act.outcome.map_or("in flight", Outcome::as_str).to_owned(),
            or_none(act.reason.as_deref()),
            act.fact.clone(),
        ];
        table.styled_row(if took { Style::Plain } else { Style::Bad }, cells);
    }
    table
}
