//! `grant`: credits for no money, stated by an operator as a fact of its own.

use super::{say, say_json};
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use domain::fact::{Grant, GrantKind};
use domain::money::Credits;
use domain::{AccountId, Cause, Envelope, Fact};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

#[derive(Args)]
pub struct Arguments {
    account: AccountId,
    /// How many, for example 100 or 12.5
    #[arg(allow_negative_numbers = true, value_parser = credits)]
    credits: Credits,
    /// Why; it stays in the journal's proof
    #[arg(long)]
    reason: String,
    #[arg(long, value_enum, default_value_t = Kind::Promotional)]
    kind: Kind,
    /// When they expire: a duration such as 30d, or a time such as 2027-01-31T00:00:00Z
    #[arg(long)]
    expires: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Promotional,
    Goodwill,
}

fn credits(text: &str) -> Result<Credits, domain::money::InvalidAmount> {
    Credits::parse_positive(text, domain::money::SCALE_MAX)
}

/// How long to wait for the ledger to say what became of it.
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn grant(session: &Session, arguments: Arguments) -> Result<ExitCode> {
    let envelope = envelope(session, &arguments)?;
    let cause = envelope.cause.clone();
    let account = arguments.account.clone();
    let broker = session.broker("grant");
    session.intake(&broker, CONFIRM_TIMEOUT)?.make_durable(vec![envelope]).await?;
    let outcome = wait(session, &cause).await?;
    broker.close().await;
    let balances = ledger::read::account(&session.pool, &account).await?;
    let available = balances.map(|account| account.available.to_string());
    if session.json {
        say_json(
            &json!({ "cause": cause.to_string(), "outcome": outcome, "account": account, "available": available }),
        )?;
    } else if let (Some(outcome), Some(available)) = (&outcome, &available) {
        say(&format!("{outcome}: {account} has {available} credits available (cause {cause})."));
    } else {
        say(&format!("Accepted as {cause}, and not applied yet: is the fleet running? See `bursar doctor`."));
    }
    Ok(if outcome.is_some() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn envelope(session: &Session, arguments: &Arguments) -> Result<Envelope> {
    let now = OffsetDateTime::now_utc();
    let operator =
        std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "unknown".to_owned());
    let fact = Fact::Grant(Grant {
        account: arguments.account.clone(),
        credits: arguments.credits,
        kind: match arguments.kind {
            Kind::Promotional => GrantKind::Promotional,
            Kind::Goodwill => GrantKind::Goodwill,
        },
        reason: arguments.reason.clone(),
        expires_at: arguments.expires.as_deref().map(|text| moment(text, now)).transpose()?,
        by: Some(operator.clone()),
    });
    fact.check(session.config.credits.scale).map_err(|why| anyhow!(why))?;
    Ok(Envelope {
        cause: Cause {
            source: format!("operator/{operator}"),
            id: format!("grant_{}", Uuid::now_v7().simple()),
        },
        time: now,
        received_at: Some(now),
        traceparent: None,
        raw: None,
        fact,
    })
}

fn moment(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(at);
    }
    let after = humantime::parse_duration(text).with_context(|| {
        format!(
            "--expires: expected a duration such as 30d or a time such as 2027-01-31T00:00:00Z, got {text:?}"
        )
    })?;
    now.checked_add(time::Duration::try_from(after)?)
        .context("--expires: that is past the last moment that can be told")
}

async fn wait(session: &Session, cause: &Cause) -> Result<Option<String>> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if let Some(outcome) = ledger::read::fact_outcome(&session.pool, cause).await? {
            return Ok(Some(outcome));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(None)
}
