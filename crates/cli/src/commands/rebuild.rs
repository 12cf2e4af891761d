//! `ledger rebuild --compare`: what today's code would make of every stored fact.

use super::restate;
use crate::output::listing::and_more;
use crate::output::progress::ProgressLine;
use crate::output::table::{Column, Style, Table};
use crate::output::{say, say_json};
use crate::session::Session;
use crate::workers;
use anyhow::{Result, bail};
use jobs::Rebuilds;
use ledger::rebuild::{Differences, ReaderRebuilt, Rebuilt, RestatablePayments, rebuild_with};
use ledger::verify::Progress;
use std::process::ExitCode;
use std::sync::Arc;

pub async fn compare(session: &Session, limit: i64) -> Result<ExitCode> {
    let line = ProgressLine::new();
    let rules = session.config.rules()?;
    // In a schema of its own, which the role that runs may not make.
    let owner = session.owner_pool()?;
    if !db::roles::may_rebuild(&owner).await? {
        bail!(
            "a rebuild makes room for itself in a schema of its own, which this role may not: name the tables' owner in BURSAR_MIGRATE_URL"
        );
    }
    let mut show = |at: Progress| line.show(at.rule, at.checked, at.of);
    let others = rebuilds(session)?;
    let rebuilt = rebuild_with(&owner, &rules, &others, limit, &mut show).await;
    line.clear();
    let rebuilt = rebuilt?;
    match session.json {
        true => say_json(&rebuilt)?,
        false => say(&text(&rebuilt)),
    }
    Ok(if rebuilt.ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The readers that keep tables of their own, as they are configured.
fn rebuilds(session: &Session) -> Result<Vec<Arc<dyn Rebuilds>>> {
    let floor = session.idle_floor("rebuild")?;
    let mut rebuilds = Vec::new();
    for worker in workers::ALL {
        rebuilds.extend(worker.member(&session.config, &floor)?.rebuilds);
    }
    Ok(rebuilds)
}

fn text(rebuilt: &Rebuilt) -> String {
    let kinds = [
        ("Accounts", &rebuilt.accounts),
        ("Payments", &rebuilt.payments),
        ("Lots", &rebuilt.lots),
        ("Journal, the first transaction of each account that differs", &rebuilt.journal),
        ("Outcomes of facts", &rebuilt.outcomes),
    ];
    let mut parts: Vec<String> = kinds
        .into_iter()
        .filter(|(_, differences)| differences.count > 0)
        .map(|(what, differences)| listed(what, differences))
        .collect();
    for (other, compared) in
        rebuilt.others.iter().flat_map(|other| other.compared.iter().map(move |compared| (other, compared)))
    {
        if compared.differences.count > 0 {
            parts.push(listed(&format!("Of {}: {}", other.reader, compared.name), &compared.differences));
        }
    }
    if rebuilt.missing > 0 {
        parts.push(format!(
            "{} outcomes are of facts that are not stored, or not yet: they were not replayed.",
            rebuilt.missing
        ));
    }
    if rebuilt.without_rules > 0 {
        parts.push(format!(
            "{} facts were settled before rules were recorded: today's decided them.",
            rebuilt.without_rules
        ));
    }
    if rebuilt.restatable.count > 0 {
        parts.push(restatable(&rebuilt.restatable));
    }
    parts.push(match rebuilt.is_reproduced {
        true => Style::Good.paint(&format!(
            "{} facts replayed: the same accounts, payments, lots and journal, to the last hash.{}",
            rebuilt.facts,
            same(rebuilt)
        )),
        false => Style::Bad.paint(&format!("{} facts replayed: the ledger would differ.", rebuilt.facts)),
    });
    parts.join("\n\n")
}

/// What else was made anew and is the same.
fn same(rebuilt: &Rebuilt) -> String {
    let of = |other: &ReaderRebuilt| {
        let names: Vec<&str> = other.compared.iter().map(|compared| compared.name).collect();
        format!(" {} facts of {}: the same {}.", other.facts, other.reader, names.join(" and "))
    };
    rebuilt.others.iter().filter(|other| other.facts > 0).map(of).collect()
}

fn restatable(payments: &RestatablePayments) -> String {
    let more = and_more(payments.count, payments.first.len());
    let title = format!("Payments that are read differently today: {}", payments.count);
    let hint = "They stand as they were understood when they were settled. `bursar payment restate` reads them anew.";
    format!("{}\n{}{more}\n{hint}", Style::Bold.paint(&title), restate::table(&payments.first))
}

fn listed(what: &str, differences: &Differences) -> String {
    let mut table = Table::new(&[Column::Text("which"), Column::Text("recorded"), Column::Text("rebuilt")]);
    for difference in &differences.first {
        let cells = vec![difference.subject.clone(), difference.recorded.clone(), difference.rebuilt.clone()];
        table.styled_row(Style::Plain, cells);
    }
    let more = and_more(differences.count, differences.first.len());
    format!("{}\n{table}{more}", Style::Bold.paint(&format!("{what}: {}", differences.count)))
}
