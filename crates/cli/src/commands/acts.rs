//! `ledger acts`: what operators did.

use crate::output::listing;
use crate::output::table::{Column, Style, Table, moment, or_none};
use crate::session::Session;
use anyhow::Result;
use domain::Outcome;
use ledger::read::{self, ActFilter, ActLine};
use std::collections::BTreeMap;
use std::process::ExitCode;

pub async fn list(session: &Session, filter: &ActFilter) -> Result<ExitCode> {
    let acts = read::acts(&session.pool, &session.readers()?, filter).await?;
    let document = BTreeMap::from([("acts", &acts)]);
    let below = listing::may_go_on(acts.len(), filter.limit);
    listing::print(session.json, &document, &table(&acts), "No acts here.", below)
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
