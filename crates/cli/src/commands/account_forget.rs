//! `account forget` and `ledger erasures`: what people wrote about an account is erased, and who did it is known.

use super::act::{By, reason};
use super::delivery;
use super::moment::said_moment;
use crate::output::listing;
use crate::output::table::{Column, Table, moment, or_none};
use crate::output::{say, say_json};
use crate::session::Session;
use anyhow::Result;
use clap::Args;
use dead_letters::acts::{self, Erased, Whose};
use disputes::erasure::{ErasedPacks, PackErasure};
use domain::{AccountId, Cause};
use gate::erasure::{self, Erasure, ErasureLine, Reached};
use jobs::{ErasedJobs, JobErasure};
use ledger::read;
use serde_json::json;
use std::collections::BTreeMap;
use std::process::ExitCode;
use time::OffsetDateTime;

pub const HELP: &str =
    "What goes: descriptions of usage, digests of addresses and devices, words of refund requests, reasons of
grants, disputes and acts, stored bodies of deliveries, what closed dead letters hold of them, what calls to
the outside said that are at their end, and evidence packs with what became of them. What stays: ids, amounts,
times, the journal, and their proof; events that went out; notes. Dead letters that are open are named and
left, calls that are not made yet keep what they are to say (a refund would be lost), and so do evidence packs
that are on their way: exit status 1.
Nothing brings it back. Backups keep it as long as you keep them.";

#[derive(Args)]
pub struct Forget {
    /// The platform's own id of the account
    account: AccountId,
    /// Only what came before this moment (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = said_moment)]
    before: Option<OffsetDateTime>,
    /// Say how many facts it would reach, and erase nothing
    #[arg(long)]
    dry_run: bool,
    /// Why; it stays in the list of erasures
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    by: By,
}

pub async fn forget(session: &Session, arguments: Forget) -> Result<ExitCode> {
    let causes = read::texts_of(&session.pool, &arguments.account, arguments.before).await?;
    if arguments.dry_run {
        return foretell(session, &arguments.account, &causes);
    }
    let erasure = Erasure {
        by: arguments.by.name()?,
        about: format!("account {}", arguments.account),
        reason: Some(arguments.reason),
        at: OffsetDateTime::now_utc(),
    };
    let account = arguments.account.clone();
    let whose = Whose::Account { account, before: arguments.before, causes };
    let letters = acts::erase(&session.pool, &whose, &erasure.by, erasure.at).await?;
    let Whose::Account { causes, .. } = &whose else { unreachable!("made above") };
    let reached = erasure::erase(&session.pool, causes, letters.emptied.len() as u64, &erasure).await?;
    let of_jobs = JobErasure {
        account: &arguments.account,
        before: arguments.before,
        by: &erasure.by,
        reason: erasure.reason.as_deref().unwrap_or_default(),
    };
    // After the letters: what of them is closed is known by now.
    let jobs = jobs::forget(&session.pool, of_jobs, erasure.at).await?;
    let of_packs = PackErasure {
        account: &arguments.account,
        before: arguments.before,
        by: &erasure.by,
        reason: erasure.reason.as_deref().unwrap_or_default(),
    };
    let packs = disputes::erasure::forget(&session.pool, of_packs, erasure.at).await?;
    tell(session, &arguments.account, &Forgotten { reached, letters, jobs, packs })
}

fn foretell(session: &Session, account: &AccountId, causes: &[Cause]) -> Result<ExitCode> {
    match session.json {
        true => {
            let facts: Vec<String> = causes.iter().map(ToString::to_string).collect();
            say_json(&json!({ "account": account, "dry_run": true, "facts": facts }))?;
        }
        false => say(&format!(
            "Would erase what {} facts about {account} hold in words, with their bodies and closed dead letters.",
            causes.len()
        )),
    }
    Ok(ExitCode::SUCCESS)
}

/// What an erasure reached, and what it left.
struct Forgotten {
    reached: Reached,
    letters: Erased,
    jobs: ErasedJobs,
    packs: ErasedPacks,
}

fn tell(session: &Session, account: &AccountId, forgotten: &Forgotten) -> Result<ExitCode> {
    let Forgotten { reached, letters, jobs, packs } = forgotten;
    let nothing = reached.is_nothing()
        && letters.left.is_empty()
        && *jobs == ErasedJobs::default()
        && *packs == ErasedPacks::default();
    if session.json {
        say_json(&json!({ "account": account, "facts": reached.facts, "bodies": reached.bodies,
                          "letters_emptied": letters.emptied, "letters_left": letters.left,
                          "jobs_forgotten": jobs.forgotten, "jobs_left": jobs.left,
                          "packs_erased": packs.erased, "packs_left": packs.left }))?;
    } else if nothing {
        say(&format!("Nothing is stored in words about {account}: it was erased, or never there."));
    } else {
        let told = [
            delivery::text(&format!("about {account}"), reached, letters),
            of_jobs(account, *jobs),
            of_packs(account, *packs),
        ];
        say(&told.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n"));
    }
    match jobs.left + packs.left {
        0 => Ok(delivery::status(nothing, letters)),
        _ => Ok(ExitCode::from(1)),
    }
}

fn of_jobs(account: &AccountId, jobs: ErasedJobs) -> String {
    let mut lines = Vec::new();
    if jobs.forgotten > 0 {
        lines.push(format!("Erased what calls to the outside were about {account}: {}.", jobs.forgotten));
    }
    if jobs.left > 0 {
        lines.push(format!(
            "{} calls to the outside about {account} are not at their end, or may be replayed, and keep what they are to say: erase \
             again once they are made, or their dead letters are closed.",
            jobs.left
        ));
    }
    lines.join("\n")
}

fn of_packs(account: &AccountId, packs: ErasedPacks) -> String {
    let mut lines = Vec::new();
    if packs.erased > 0 {
        lines.push(format!("Erased evidence packs about {account}: {}.", packs.erased));
    }
    if packs.left > 0 {
        lines.push(format!(
            "{} evidence packs about {account} are on their way to the processor and are left: erase again once that is over.",
            packs.left
        ));
    }
    lines.join("\n")
}

pub async fn list(session: &Session, limit: i64) -> Result<ExitCode> {
    let erasures = erasure::erasures(&session.pool, limit).await?;
    let document = BTreeMap::from([("erasures", &erasures)]);
    listing::print(session.json, &document, &table(&erasures), "Nothing was erased.", None)
}

fn table(erasures: &[ErasureLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("time"),
        Column::Text("by"),
        Column::Text("about"),
        Column::Number("facts"),
        Column::Number("bodies"),
        Column::Number("letters"),
        Column::Text("reason"),
    ]);
    for line in erasures {
        table.row(vec![
            moment(line.at),
            line.by.clone(),
            line.about.clone(),
            line.facts.to_string(),
            line.bodies.to_string(),
            line.letters.to_string(),
            or_none(line.reason.as_deref()),
        ]);
    }
    table
}
