//! `ledger verify`: prove the ledger's invariants, and name who breaks them.

use super::{account_forget, acts, rebuild, roll_forward};
use crate::output::progress::ProgressLine;
use crate::output::table::{Column, Style, Table};
use crate::output::{say, say_json};
use crate::session::{CONFIRM_TIMEOUT, Session};
use crate::visible::on_a_line;
use crate::workers;
use anyhow::Result;
use clap::Subcommand;
use domain::AccountId;
use facts::conservation::ReaderCounts;
use ledger::expiry::pass_once;
use ledger::read::ActFilter;
use ledger::verify::{Check, Conservation, Progress, Report, verify_with};
use std::process::ExitCode;
use time::OffsetDateTime;

#[derive(Subcommand)]
pub enum LedgerCommand {
    /// Prove the invariants from what is stored, beside a running fleet; exit status 1 names who breaks them
    Verify {
        /// Only this account, without the checks of facts
        #[arg(long)]
        account: Option<AccountId>,
    },
    /// Replay every stored fact with today's code into a scratch schema and show what differs; changes nothing
    Rebuild {
        /// Compare the rebuilt ledger with the recorded one
        #[arg(long, required = true)]
        compare: bool,
        /// How many differences of each kind to name
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// State the lots whose time has come now, without waiting for the scheduled pass
    Expire,
    /// A month from its opening to its closing, in credits and in money
    #[command(after_help = roll_forward::HELP)]
    RollForward(roll_forward::RollForwardArguments),
    /// What operators did, the latest first: when, who, what, why, and what became of it
    Acts {
        /// Only acts about this account, or about a payment that is now its
        #[arg(long)]
        account: Option<AccountId>,
        /// Only this operator's
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// What was erased, the latest first: when, by whom, why, and what it reached
    Erasures {
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
}

pub async fn run(session: &Session, command: LedgerCommand) -> Result<ExitCode> {
    match command {
        LedgerCommand::Verify { account } => prove(session, account.as_ref()).await,
        LedgerCommand::Rebuild { compare: _, limit } => rebuild::compare(session, limit).await,
        LedgerCommand::Expire => expire(session).await,
        LedgerCommand::RollForward(arguments) => roll_forward::show(session, &arguments).await,
        LedgerCommand::Acts { account, by, limit } => {
            acts::list(session, &ActFilter { account, by, limit }).await
        }
        LedgerCommand::Erasures { limit } => account_forget::list(session, limit).await,
    }
}

async fn expire(session: &Session) -> Result<ExitCode> {
    let broker = session.broker("expire");
    let facts = session.fact_writer(&broker, CONFIRM_TIMEOUT)?;
    let accounts = pass_once(&session.pool, &facts, OffsetDateTime::now_utc()).await?;
    broker.close().await;
    match session.json {
        true => say_json(&serde_json::json!({ "accounts": accounts }))?,
        false => {
            say(&format!("Accounts with lots whose time has come: {accounts}. The ledger expires them."))
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn prove(session: &Session, account: Option<&AccountId>) -> Result<ExitCode> {
    let line = ProgressLine::new();
    let scale = session.config.credits.scale;
    let readers = session.readers()?;
    let mut show = |at: Progress| line.show(at.rule, at.checked, at.of);
    let report = verify_with(&session.pool, scale, account, &readers, &workers::checks(), &mut show).await;
    line.clear();
    let report = report?;
    if session.json {
        say_json(&report)?;
    } else {
        say(&report_text(&report));
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn report_text(report: &Report) -> String {
    let mut table = Table::new(&[
        Column::Text("result"),
        Column::Text("check"),
        Column::Number("checked"),
        Column::Text("what holds"),
    ]);
    for check in &report.checks {
        let style = if check.ok { Style::Plain } else { Style::Bad };
        let cells =
            vec![result(check), check.name.to_owned(), check.checked.to_string(), check.rule.to_owned()];
        table.styled_row(style, cells);
    }
    let mut parts = vec![table.to_string()];
    parts.extend(report.checks.iter().filter(|check| !check.ok).map(culprits));
    parts.extend(report.checks.iter().filter_map(|check| check.counts.as_ref()).map(counts));
    parts.push(verdict(report));
    parts.join("\n\n")
}

fn result(check: &Check) -> String {
    match (check.ok, check.more) {
        (true, _) => "ok".to_owned(),
        (false, false) => format!("{} failed", check.failed.len()),
        (false, true) => format!("more than {} failed", check.failed.len()),
    }
}

fn culprits(check: &Check) -> String {
    let mut lines = vec![Style::Bold.paint(&format!("{}: {}", check.name, check.rule))];
    for culprit in &check.failed {
        lines.push(format!("  {}", on_a_line(&culprit.subject)));
        lines.push(format!("    expected {}", on_a_line(&culprit.expected)));
        lines.push(format!("    got      {}", on_a_line(&culprit.got)));
    }
    lines.join("\n")
}

/// Where the facts are: of the ledger, then of each other reader of facts.
fn counts(counts: &Conservation) -> String {
    let others = counts.others.iter().map(of_reader);
    [of_ledger(counts)].into_iter().chain(others).collect::<Vec<_>>().join("\n")
}

fn of_ledger(counts: &Conservation) -> String {
    let unread = match counts.others.is_empty() {
        true => "of kinds nobody reads",
        false => "of kinds the ledger does not read",
    };
    let parts = equation(
        "The ledger",
        counts.admitted,
        &[
            ("applied", counts.applied),
            ("nothing new", counts.no_op),
            ("waiting", counts.waiting),
            ("ignored", counts.ignored),
            ("contradicting", counts.contradicts),
            ("refused", counts.refused),
            ("dead-lettered", counts.dead_lettered),
            ("in flight", counts.in_flight),
            ("not handed over", counts.not_handed_over),
            (unread, counts.unread),
        ],
    );
    let kept = if counts.kept > 0 {
        format!("; {} deliveries kept at the front door", counts.kept)
    } else {
        String::new()
    };
    format!("Facts: {} admitted{parts}; {} repeats stopped{kept}.", counts.admitted, counts.repeats)
}

fn of_reader(counts: &ReaderCounts) -> String {
    let parts = equation(
        &counts.reader,
        counts.admitted,
        &[
            ("applied", counts.applied),
            ("nothing new", counts.no_op),
            ("waiting", counts.waiting),
            ("ignored", counts.ignored),
            ("contradicting", counts.contradicts),
            ("refused", counts.refused),
            ("dead-lettered", counts.dead_lettered),
            ("in flight", counts.in_flight),
            ("not handed over", counts.not_handed_over),
        ],
    );
    format!("Facts that {} reads: {} admitted{parts}.", counts.reader, counts.admitted)
}

/// An equation only where it is one.
fn equation(reader: &str, admitted: i64, counts: &[(&str, i64)]) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let accounted: i64 = counts.iter().map(|(_, count)| count).sum();
    match (parts.is_empty(), accounted - admitted) {
        (true, _) => String::new(),
        (false, 0) => format!(" = {}", parts.join(" + ")),
        (false, over @ 1..) => format!(
            ", {}: {over} more than were admitted. {reader} has facts that the gate never saw: who else publishes to its queue?",
            parts.join(" + ")
        ),
        (false, less) => format!(", {}: {} are not accounted for", parts.join(" + "), -less),
    }
}

fn verdict(report: &Report) -> String {
    let size = format!("Accounts: {}, transactions: {}", report.accounts, report.transactions);
    let failed = report.checks.iter().filter(|check| !check.ok).count();
    match failed {
        0 => Style::Good.paint(&format!("{size}. All {} checks hold.", report.checks.len())),
        failed => Style::Bad.paint(&format!("{size}. {failed} of {} checks failed.", report.checks.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_told_as_an_equation_only_where_it_is_one() {
        let check = |admitted, applied, expect: &str| {
            let found = Conservation {
                admitted,
                repeats: 0,
                unread: 0,
                dead_lettered: 0,
                in_flight: 0,
                kept: 0,
                applied,
                no_op: 1,
                waiting: 0,
                ignored: 0,
                contradicts: 0,
                refused: 0,
                not_handed_over: 0,
                others: Vec::new(),
            };
            let told = counts(&found);
            assert!(told.starts_with(expect), "{told}");
        };
        check(17, 16, "Facts: 17 admitted = 16 applied + 1 nothing new;");
        check(16, 16, "Facts: 16 admitted, 16 applied + 1 nothing new: 1 more than were admitted.");
        check(18, 16, "Facts: 18 admitted, 16 applied + 1 nothing new: 1 are not accounted for;");
    }
}
