//! `grant`: credits for no money, stated by an operator as a fact of its own.

use super::act::{About, Signed, credits, reason};
use crate::config::duration;
use crate::session::Session;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use domain::calendar::{in_utc, later};
use domain::fact::{Grant, GrantKind};
use domain::money::Credits;
use domain::{AccountId, Fact};
use std::process::ExitCode;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Args)]
pub struct GrantArguments {
    account: AccountId,
    /// How many, for example 100 or 12.5
    #[arg(allow_negative_numbers = true, value_parser = credits)]
    credits: Credits,
    /// Why; it stays in the journal's proof
    #[arg(long, value_parser = reason)]
    reason: String,
    #[arg(long, value_enum, default_value_t = GivenFor::Promotional)]
    kind: GivenFor,
    /// When they expire: a duration such as 30d, or a time such as 2027-01-31T00:00:00Z
    #[arg(long)]
    expires: Option<String>,
    #[command(flatten)]
    signed: Signed,
}

#[derive(Clone, Copy, ValueEnum)]
enum GivenFor {
    Promotional,
    Goodwill,
}

pub async fn grant(session: &Session, arguments: GrantArguments) -> Result<ExitCode> {
    let act = arguments.signed.begin(session, "grant").await?;
    let fact = Fact::Grant(Grant {
        account: arguments.account.clone(),
        credits: arguments.credits,
        kind: match arguments.kind {
            GivenFor::Promotional => GrantKind::Promotional,
            GivenFor::Goodwill => GrantKind::Goodwill,
        },
        reason: arguments.reason,
        expires_at: arguments.expires.as_deref().map(|text| moment(text, act.at)).transpose()?,
        by: Some(act.by.clone()),
    });
    let done = act.carry_out(session, fact).await?;
    done.show(session, About { account: Some(&arguments.account), ..About::default() }).await
}

fn moment(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return in_utc(at).context("--expires");
    }
    let after = duration(text).with_context(|| {
        format!(
            "--expires: expected a duration such as 30d or a time such as 2027-01-31T00:00:00Z, got {text:?}"
        )
    })?;
    later(now, time::Duration::try_from(after)?)
        .context("--expires: that is past the last moment that can be told")
}
