//! `account restrict` and `account restore`: an operator's word on what an account may do.

use super::act::{About, Signed, reason};
use crate::session::Session;
use anyhow::{Result, bail};
use clap::Args;
use domain::fact::{Restriction, RestrictionAct, RestrictionKind};
use domain::{AccountId, Fact};
use ledger::read::{self, AccountStanding, AccountStandings};
use std::process::ExitCode;

pub const RESTRICT_HELP: &str = "access: no calls are served. checkout: nothing can be bought. balance: nothing can be spent.
It stands until an operator lifts it. Gateways are told at once, by the account's standing and by the event account.restricted.";

pub const RESTORE_HELP: &str = "Lifts every restriction of this kind that stands, those of disputes and of the rule of risk among them. What was lifted is not
put on again for the same reason; a dispute that goes on to another stage may restrict again.";

#[derive(Args)]
pub struct Restrict {
    /// The platform's own id of the account
    account: AccountId,
    /// What it may not do: access, checkout or balance
    #[arg(long)]
    kind: RestrictionKind,
    /// Why; it stays beside the restriction
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    signed: Signed,
}

pub async fn run(session: &Session, arguments: Restrict, act: RestrictionAct) -> Result<ExitCode> {
    let Restrict { account, kind, reason, signed } = arguments;
    let Some(before) = read::standing(&session.pool, &account).await? else {
        bail!("expected an account that some fact has named, got {account}: see `bursar account list`");
    };
    let word = match act {
        RestrictionAct::Restrict => "restrict",
        RestrictionAct::Restore => "restore",
    };
    let begun = signed.begin(session, word).await?;
    if act == RestrictionAct::Restore
        && !begun.is_repeat()
        && of_kind(&before.standing, kind) == AccountStanding::Allowed
    {
        bail!(
            "expected an account whose {kind} is restricted, got {account}: see `bursar account show {account}`"
        );
    }
    let fact = Fact::Restriction(Restriction {
        account: account.clone(),
        kind,
        act,
        reason,
        by: begun.by.clone(),
        occurred_at: begun.at,
    });
    let done = begun.carry_out(session, fact).await?;
    let after = read::standing(&session.pool, &account).await?;
    let standing = after.as_ref().map(|view| &view.standing);
    done.show(session, About { account: Some(&account), standing, ..About::default() }).await
}

fn of_kind(standing: &AccountStandings, kind: RestrictionKind) -> AccountStanding {
    match kind {
        RestrictionKind::Access => standing.access,
        RestrictionKind::Checkout => standing.checkout,
        RestrictionKind::Balance => standing.balance,
    }
}
