//! An operator's act: a fact of its own, stated durably through the front door, and what became of it.
//!
//! An act that is repeated under its id has one effect: the gate admits it once. So whoever does not know whether an act
//! went through repeats it with the same `--id`.

use super::account::standing_text;
use super::dispute;
use crate::config::duration;
use crate::misuse::Misuse;
use crate::output::journal::journal;
use crate::output::{say, say_json};
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use db::Doing;
use disputes::read::DisputeLine;
use domain::event::Balances;
use domain::money::{Credits, InvalidAmount, SCALE_MAX};
use domain::{AccountId, Cause, Envelope, Fact, Outcome};
use facts::outcomes::{FactEnd, FactState};
use ledger::read::{self, AccountStandings, FactView, OPERATOR, PaymentView};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// Who acts, and under which id.
#[derive(Args)]
pub struct Signed {
    #[command(flatten)]
    by: By,
    /// The act's own id: stated again under the same id it has no further effect (by default a new one)
    #[arg(long)]
    id: Option<String>,
    /// How long to wait for the ledger to say what became of it
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    wait: Duration,
}

/// Who acts. Nobody acts as nobody.
#[derive(Args, Clone, Debug)]
pub struct By {
    /// Who does it (by default the user of the operating system)
    #[arg(long, value_name = "NAME", value_parser = name)]
    by: Option<String>,
}

impl By {
    pub fn name(&self) -> Result<String> {
        let user = || std::env::var("USER").ok().filter(|user| !user.trim().is_empty());
        self.by.clone().or_else(user).ok_or_else(|| {
            Misuse("expected who does it: say so with --by, for USER is not set".to_owned()).into()
        })
    }
}

/// Reads somebody's name.
pub fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected a name, got nothing".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// Reads why an act is done.
pub fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected why it is done, got nothing".to_owned()),
        reason => Ok(reason.to_owned()),
    }
}

/// Reads more than zero credits from the command line.
pub fn credits(text: &str) -> Result<Credits, InvalidAmount> {
    Credits::parse_positive(text, SCALE_MAX)
}

/// Reads credits of either sign from the command line.
pub fn signed_credits(text: &str) -> Result<Credits, InvalidAmount> {
    match text.strip_prefix('-') {
        Some(rest) => credits(rest).map(|credits| -credits),
        None => credits(text),
    }
}

/// An act that is about to be stated.
pub struct Act {
    cause: Cause,
    pub by: String,
    /// When it was first begun: a repeat says the same to the last digit.
    pub at: OffsetDateTime,
    patience: Duration,
    admitted: Option<String>,
}

impl Signed {
    /// Begins an act, or goes on with one that was stated before under the same id.
    pub async fn begin(&self, session: &Session, what: &str) -> Result<Act> {
        let by = self.by.name()?;
        let id = self.id.clone().unwrap_or_else(|| format!("{what}_{}", Uuid::now_v7().simple()));
        let cause = Cause { source: format!("{OPERATOR}{by}"), id };
        let admitted = match self.id {
            Some(_) => read::admitted(&session.pool, &cause).await?,
            None => None,
        };
        let at = admitted.as_ref().map_or_else(now, |admitted| admitted.time);
        Ok(Act { cause, by, at, patience: self.wait, admitted: admitted.map(|admitted| admitted.fact) })
    }
}

/// To the microsecond, which is what the inbox keeps.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_microsecond(now.microsecond()).unwrap_or(now)
}

impl Act {
    /// Whether it was stated before under the same id.
    pub fn is_repeat(&self) -> bool {
        self.admitted.is_some()
    }

    /// States the fact durably and waits until all its readers have settled it.
    pub async fn carry_out(self, session: &Session, fact: Fact) -> Result<Done> {
        fact.check(session.config.credits.scale).map_err(|why| anyhow!(why))?;
        let canonical = fact.canonical().get().to_owned();
        if let Some(admitted) = self.admitted.filter(|admitted| *admitted != canonical) {
            bail!(
                "{}: expected the act that was stated under this id, got another one. Stated: {admitted}. Now: {canonical}",
                self.cause
            );
        }
        let envelope = Envelope {
            cause: self.cause.clone(),
            time: self.at,
            received_at: Some(OffsetDateTime::now_utc()),
            traceparent: None,
            raw: None,
            fact,
        };
        // What the gate would refuse is an error here, and no dead letter.
        Envelope::parse(&envelope.to_json(), self.at).context("--by, --id")?;
        let broker = session.broker("act");
        session.fact_writer(&broker, CONFIRM_TIMEOUT)?.state(vec![envelope]).await?;
        let end = wait(session, &self.cause, self.patience).await?;
        broker.close().await;
        let fact = match end {
            Some(_) => read::fact(&session.pool, &self.cause).await?,
            None => None,
        };
        Ok(Done { cause: self.cause, end, fact })
    }
}

/// What became of the fact: a failure as soon as one reader tells it, else once every reader has settled it. Nothing at the end
/// of patience.
async fn wait(session: &Session, cause: &Cause, patience: Duration) -> Result<Option<FactEnd>> {
    let readers = session.readers()?;
    let deadline = tokio::time::Instant::now() + patience;
    while tokio::time::Instant::now() < deadline {
        let mut connection = session.pool.acquire().await.doing("taking a connection")?;
        let states = facts::outcomes::states(&mut connection, &readers, [cause]).await?;
        drop(connection);
        if let Some(end) = states.iter().find_map(FactState::end) {
            return Ok(Some(end));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(None)
}

/// An act that was stated, and what became of it.
pub struct Done {
    cause: Cause,
    /// Nothing where one of its readers has not settled it in time.
    end: Option<FactEnd>,
    fact: Option<FactView>,
}

/// What an act was about, so that it can be shown as it is now.
#[derive(Default)]
pub struct About<'a> {
    pub account: Option<&'a AccountId>,
    pub payment: Option<&'a PaymentView>,
    pub case: Option<&'a DisputeLine>,
    pub standing: Option<&'a AccountStandings>,
    /// What went wrong, where the outcome alone does not tell.
    pub failed: Option<String>,
}

impl Done {
    /// Shows what the act changed. Exit status 1 unless the ledger took it.
    pub async fn show(self, session: &Session, about: About<'_>) -> Result<ExitCode> {
        let failed = about.failed.clone().or_else(|| self.failure());
        let balances = self.balances(session, about.account).await?;
        match session.json {
            true => self.say_json(&about, &balances, failed.as_deref())?,
            false => self.say_text(&about, &balances),
        }
        match failed {
            Some(why) if !session.json => bail!("{}: {why}", self.cause),
            Some(_) => Ok(ExitCode::from(1)),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        match self.end {
            Some(FactEnd::Settled(outcome)) => Some(outcome),
            Some(FactEnd::DeadLetter) | None => None,
        }
    }

    /// Whether each of its readers has settled it.
    pub fn is_settled(&self) -> bool {
        self.outcome().is_some()
    }

    pub fn contradicts(&self) -> bool {
        self.outcome() == Some(Outcome::Contradicts)
    }

    pub fn moved_nothing(&self) -> bool {
        self.fact.iter().all(|fact| fact.transactions.is_empty())
    }

    fn failure(&self) -> Option<String> {
        let why = match self.end {
            None => {
                "accepted, and not settled yet: is the fleet running? See `bursar doctor`, and repeat the act with its id (--id) to see what became of it"
            }
            Some(FactEnd::DeadLetter) => {
                "a worker gave up on it. It waits as a dead letter: see `bursar dlq list --event`"
            }
            Some(FactEnd::Settled(Outcome::Refused)) => {
                "refused: an account's credits stay below 10^15, and two delivered payments are never made one. It waits as a dead letter"
            }
            Some(FactEnd::Settled(Outcome::Contradicts)) if self.moved_nothing() => {
                "it contradicts what was acted upon, and moved nothing"
            }
            Some(FactEnd::Settled(Outcome::Contradicts)) => {
                "done, and what is said of it does not fit together: look at it"
            }
            Some(FactEnd::Settled(_)) => return None,
        };
        Some(why.to_owned())
    }

    /// The balances of the account that it was about and of every other that it changed.
    async fn balances(
        &self,
        session: &Session,
        about: Option<&AccountId>,
    ) -> Result<Vec<(AccountId, Balances)>> {
        let changed = self.fact.iter().flat_map(|fact| &fact.transactions);
        let mut accounts: BTreeSet<AccountId> =
            changed.map(|transaction| AccountId::new(&*transaction.account)).collect::<Result<_, _>>()?;
        accounts.extend(about.cloned());
        let mut balances = Vec::new();
        for account in accounts {
            if let Some(view) = read::account(&session.pool, &account).await? {
                let after = Balances { available: view.available, held: view.held, debt: view.debt };
                balances.push((account, after));
            }
        }
        Ok(balances)
    }

    fn say_text(&self, about: &About<'_>, balances: &[(AccountId, Balances)]) {
        let Some(outcome) = self.outcome() else { return };
        let mut lines = vec![format!("{outcome}: {}", self.cause)];
        lines.extend(balances.iter().map(|(account, after)| {
            format!("{account}: {} available, {} held, {} debt", after.available, after.held, after.debt)
        }));
        lines.extend(about.case.map(dispute::stands));
        lines.extend(about.standing.map(standing_text));
        let transactions = self.fact.as_ref().map_or(&[][..], |fact| &fact.transactions);
        if !transactions.is_empty() {
            lines.push(format!("\n{}", journal(transactions)));
        }
        say(&lines.join("\n"));
    }

    fn say_json(
        &self,
        about: &About<'_>,
        balances: &[(AccountId, Balances)],
        failed: Option<&str>,
    ) -> Result<()> {
        let of = |(account, after): &(AccountId, Balances)| json!({ "account": account, "available": after.available, "held": after.held, "debt": after.debt });
        let own = balances.iter().find(|(account, _)| Some(account) == about.account);
        say_json(&json!({
            "cause": self.cause.to_string(),
            "outcome": self.outcome(),
            "error": failed,
            "account": about.account,
            "available": own.map(|(_, after)| after.available),
            "payment": about.payment.map(|payment| &payment.line),
            "dispute": about.case,
            "standing": about.standing,
            "balances": balances.iter().map(of).collect::<Vec<_>>(),
            "transactions": self.fact.as_ref().map(|fact| &fact.transactions),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_of_an_act_have_a_sign_and_are_not_zero() {
        let check = |text: &str| signed_credits(text).map(|credits| credits.to_string());
        assert_eq!(check("12.50").unwrap(), "12.5");
        assert_eq!(check("-12.50").unwrap(), "-12.5");
        for wrong in ["0", "-0", "--1", "+1", "", "-", "1e3", "ten"] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn whoever_acts_has_a_name() {
        assert_eq!(name(" ada ").as_deref(), Ok("ada"));
        assert!(name("").is_err() && name(" ").is_err());
    }

    #[test]
    fn an_act_has_a_reason() {
        assert_eq!(reason(" counted twice ").as_deref(), Ok("counted twice"));
        assert!(reason(" ").is_err());
    }

    #[test]
    fn the_moment_of_an_act_is_what_the_inbox_keeps() {
        assert_eq!(now().nanosecond() % 1000, 0);
    }
}
