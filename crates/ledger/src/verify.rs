//! `bursar ledger verify`: proves the invariants from what is stored.
//!
//! Everything is read from one snapshot, so it can run beside a live fleet; nothing is changed. Memory stays flat
//! however long the journal is: sums are made by the database, hashes and targets are computed chunk by chunk. What
//! the database can prove by a query is proved by a query, a computation of its own and not the code that posted.
//!
//! What a worker may still be about to write (a fact without outcome, an event without confirm) counts as in flight
//! for [`IN_FLIGHT`], and is found by name afterwards.

mod chain;
mod events;
pub(crate) mod payments;
mod rules;
mod set;

use crate::read;
use db::{Error, PgConnection, Pool};
use domain::AccountId;
pub use facts::conservation::Culprit;
use facts::conservation::ReaderCounts;
use facts::{Readers, conservation};
use jobs::{CheckSpec, Checked};
use serde::Serialize;
pub use set::Conservation;
use set::Size;
use std::time::Duration;

/// Culprits named for each check; where there are more, the check says so.
const CULPRITS_MAX: usize = 20;

/// How long what is committed may wait for its next step. The statements beside this file say the same in SQL.
pub const IN_FLIGHT: Duration = Duration::from_secs(60);

/// `bursar ledger verify --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub ok: bool,
    pub accounts: i64,
    pub transactions: i64,
    pub checks: Vec<Check>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    pub name: &'static str,
    /// What holds, in words.
    pub rule: &'static str,
    pub ok: bool,
    pub checked: i64,
    /// The first of those that break the rule.
    pub failed: Vec<Culprit>,
    /// There are more than are named.
    #[serde(skip_serializing_if = "is_false")]
    pub more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Conservation>,
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub rule: &'static str,
    pub checked: i64,
    pub of: i64,
}

pub type OnProgress<'a> = &'a mut (dyn FnMut(Progress) + Send);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Checks every account, or the one in `scope`; facts belong to no account and are checked only with all of them.
/// `scale` is the deployment's number of decimal places of a credit, `readers` are the workers that its topology binds to facts.
///
/// # Errors
/// Those of the database.
pub async fn verify(
    pool: &Pool,
    scale: u32,
    scope: Option<&AccountId>,
    readers: &Readers,
    watcher: OnProgress<'_>,
) -> Result<Report, Error> {
    verify_with(pool, scale, scope, readers, &[], watcher).await
}

/// As [`verify`], and the rules of other workers' tables, in the same moment; these only with all accounts.
///
/// # Errors
/// Those of the database.
pub async fn verify_with(
    pool: &Pool,
    scale: u32,
    scope: Option<&AccountId>,
    readers: &Readers,
    of_workers: &[CheckSpec],
    watcher: OnProgress<'_>,
) -> Result<Report, Error> {
    let mut snapshot = read::snapshot(pool).await?;
    set::take_time(&mut snapshot).await?;
    let scope = scope.map(AccountId::as_str);
    let size = set::size(&mut snapshot, scope).await?;
    let mut audit =
        Audit { connection: &mut snapshot, scope, size, watcher, rule: NO_RULE, checks: Vec::new() };
    audit.journal().await?;
    audit.balances().await?;
    audit.events().await?;
    audit.payments(scale).await?;
    if scope.is_none() {
        audit.rules().await?;
        audit.facts(readers).await?;
        audit.of_workers(of_workers).await?;
    }
    Ok(audit.report())
}

/// The checks while they are being made.
struct Audit<'a> {
    connection: &'a mut PgConnection,
    scope: Option<&'a str>,
    size: Size,
    watcher: OnProgress<'a>,
    /// Of the check that is being made.
    rule: Rule,
    checks: Vec<Check>,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    name: &'static str,
    says: &'static str,
    of: i64,
}

const NO_RULE: Rule = Rule { name: "", says: "", of: 0 };

impl Audit<'_> {
    fn begin(&mut self, name: &'static str, of: i64, says: &'static str) -> &mut PgConnection {
        self.rule = Rule { name, says, of };
        self.progress(0);
        self.connection
    }

    fn progress(&mut self, checked: i64) {
        (self.watcher)(Progress { rule: self.rule.says, checked, of: self.rule.of });
    }

    fn conclude(&mut self, mut failed: Vec<Culprit>) -> &mut Check {
        let more = failed.len() > CULPRITS_MAX;
        failed.truncate(CULPRITS_MAX);
        let Rule { name, says, of } = self.rule;
        self.checks.push(Check {
            name,
            rule: says,
            ok: failed.is_empty(),
            checked: of,
            failed,
            more,
            counts: None,
        });
        self.checks.last_mut().expect("it was pushed just above")
    }

    async fn journal(&mut self) -> Result<(), Error> {
        let (scope, size) = (self.scope, self.size);
        let says = "every transaction adds up to zero, in both its halves";
        let found =
            set::transactions_balance(self.begin("transactions_balance", size.transactions, says), scope)
                .await?;
        self.conclude(found);
        let says = "an account's transactions are numbered from 1 without gaps";
        let found =
            set::transactions_numbered(self.begin("transactions_numbered", size.accounts, says), scope)
                .await?;
        self.conclude(found);
        let says = "every transaction's hash follows from the one before, up to the account's head";
        let mut found =
            set::heads(self.begin("transactions_chained", size.transactions, says), scope).await?;
        chain::check(self, &mut found).await?;
        self.conclude(found);
        let says = "usage is carried by lots or is debt, and only usage and adjustments change their sum";
        let found = set::usage_kept(self.begin("usage_kept", size.transactions, says), scope).await?;
        self.conclude(found);
        Ok(())
    }

    async fn balances(&mut self) -> Result<(), Error> {
        let (scope, size) = (self.scope, self.size);
        let says = "an account's balances are the sums of its entries";
        let found = set::balances(self.begin("balances", size.accounts, says), scope).await?;
        self.conclude(found);
        let says = "a lot's amounts are the sums of its entries, and add up to what was granted";
        let found = set::lots(self.begin("lots", size.lots, says), scope).await?;
        self.conclude(found);
        let says = "a payment's lots belong to the account that it was delivered to";
        let found = set::lots_owned(self.begin("lots_owned", size.lots, says), scope).await?;
        self.conclude(found);
        let says = "no account has credits available beside debt";
        let found =
            set::credits_beside_debt(self.begin("credits_beside_debt", size.accounts, says), scope).await?;
        self.conclude(found);
        Ok(())
    }

    async fn events(&mut self) -> Result<(), Error> {
        let (scope, size) = (self.scope, self.size);
        let says = "an account's events are numbered from 1 without gaps";
        let found = set::events_numbered(self.begin("events_numbered", size.events, says), scope).await?;
        self.conclude(found);
        let says = "every event's hash follows from the one before, up to what its account's row says";
        let mut found = set::events_heads(self.begin("events_chained", size.events, says), scope).await?;
        events::check(self, &mut found).await?;
        self.conclude(found);
        let says = "what was committed is published within a minute";
        let found = set::events_published(self.begin("events_published", size.outbox, says), scope).await?;
        self.conclude(found);
        Ok(())
    }

    async fn payments(&mut self, scale: u32) -> Result<(), Error> {
        let says = "a delivered payment has granted, reversed and held exactly what its record says";
        self.begin("payments", self.size.payments, says);
        let found = payments::check(self, scale).await?;
        self.conclude(found);
        Ok(())
    }

    /// What decided is kept under names that are the hashes of it.
    async fn rules(&mut self) -> Result<(), Error> {
        let kept = rules::kept(self.connection).await?;
        let says = "every catalog and every set of rules is what its name says";
        self.begin("rules_named", kept.len() as i64, says);
        self.conclude(kept.iter().filter_map(rules::Kept::culprit).collect());
        Ok(())
    }

    async fn facts(&mut self, readers: &Readers) -> Result<(), Error> {
        let readers_counts = conservation::counts(self.connection, readers).await?;
        let counts = set::conservation(self.connection, readers_counts).await?;
        let (admitted, settled) = (counts.admitted, counts.settled());
        self.facts_settled(readers, counts).await?;
        let says = "every stored fact is what was admitted";
        let found = set::facts_intact(self.begin("facts_intact", admitted, says)).await?;
        self.conclude(found);
        let says = "what was said of a payment is kept in one";
        let found = set::payments_known(self.begin("payments_known", settled, says)).await?;
        self.conclude(found);
        let says = "every usage, grant and adjustment that was applied is posted once, with its amount";
        let of = self.size.usages_and_grants;
        let found = set::facts_posted(self.begin("facts_posted", of, says)).await?;
        self.conclude(found);
        Ok(())
    }

    /// What became of every fact at every reader of its kind.
    async fn facts_settled(&mut self, readers: &Readers, counts: Conservation) -> Result<(), Error> {
        let of_readers = counts.of_all();
        let sum = |count: fn(&ReaderCounts) -> i64| of_readers.iter().map(count).sum::<i64>();
        let expected = sum(|counts| counts.admitted - counts.not_handed_over);
        let (refused, settled) = (sum(|counts| counts.refused), sum(ReaderCounts::settled));
        let says = match counts.others.is_empty() {
            true => {
                "every admitted fact that the ledger reads has an outcome, or a dead letter to be dealt with"
            }
            false => {
                "every admitted fact has an outcome at each of its readers, or a dead letter to be dealt with"
            }
        };
        let found =
            conservation::unsettled(self.begin("facts_settled", expected, says), readers, set::LIMIT).await?;
        self.conclude(found).counts = Some(counts);
        let says = "every fact that was refused is a dead letter";
        let found =
            conservation::refusals_kept(self.begin("refusals_kept", refused, says), set::LIMIT).await?;
        self.conclude(found);
        let says = "every outcome is of an admitted fact";
        let found =
            conservation::outcomes_admitted(self.begin("outcomes_admitted", settled, says), set::LIMIT)
                .await?;
        self.conclude(found);
        Ok(())
    }

    async fn of_workers(&mut self, checks: &[CheckSpec]) -> Result<(), Error> {
        for check in checks {
            let connection = self.begin(check.name, 0, check.rule);
            let Checked { checked, failed } = (check.run)(connection, set::LIMIT).await?;
            self.rule.of = checked;
            self.conclude(failed);
        }
        Ok(())
    }

    fn report(self) -> Report {
        Report {
            ok: self.checks.iter().all(|check| check.ok),
            accounts: self.size.accounts,
            transactions: self.size.transactions,
            checks: self.checks,
        }
    }
}
