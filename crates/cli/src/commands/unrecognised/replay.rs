//! `unrecognised replay`: what today's code understands goes through the front door again.
//!
//! The gate admits each anew under its identity, once, whoever replays it and however often; then its readers get it like
//! any other fact. So a replay that was broken off is repeated.

use super::which::{WhichUnrecognised, look_through};
use crate::commands::bulk::portions::{CanaryFailed, Portion, in_portions};
use crate::commands::bulk::{Bulk, Consent, Speed};
use crate::output::table::Style;
use crate::output::{say, say_json};
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::{Result, anyhow};
use clap::Args;
use db::Doing;
use dead_letters::acts::{self, AuditRecord};
use dead_letters::read::copies;
use domain::{Cause, Envelope};
use facts::outcomes::{self, DEAD_LETTER, FactEnd, FactState};
use facts::{FactWriter, Readers};
use gate::Today;
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    which: WhichUnrecognised,
    #[command(flatten)]
    bulk: Bulk,
}

pub const HELP: &str = "\
What is found is what today's code understands, by this command's configuration, and whose body is still there. --expect is compared with all that is found, whatever --max.

An outcome is known once every worker that reads the fact has settled it, and is the worst of theirs: applied, no_op, waiting, ignored; or kept, for facts that no worker reads yet. A fact that a worker refuses, that contradicts, or that a worker made a dead letter of is a failure. What has none within --wait is `not known yet`: the fleet is not running. What was done is in the audit: `bursar dlq audit`. Exit status 1 if something failed or is not known, 2 if not what was expected was found.";

/// Between two looks at what has become of them.
const LOOK: Duration = Duration::from_millis(20);

/// So many of those that did not end well are named.
const NAMED_MAX: usize = 100;

/// Found by a look through everything that is unrecognised.
#[derive(Debug, Default, Serialize)]
struct FoundDeliveries {
    #[serde(skip)]
    understood: Vec<Cause>,
    not_understood: u64,
    body_gone: u64,
}

async fn find(session: &Session, which: &WhichUnrecognised) -> Result<FoundDeliveries> {
    let mut found = FoundDeliveries::default();
    look_through(session, which, |delivery, today| {
        match today {
            Today::Understood(_) => found.understood.push(delivery.cause),
            Today::NotUnderstood => found.not_understood += 1,
            Today::BodyGone => found.body_gone += 1,
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(found)
}

impl FoundDeliveries {
    fn text(&self) -> String {
        format!(
            "{} that today's code understands; {} that it does not, {} whose body is gone.",
            self.understood.len(),
            self.not_understood,
            self.body_gone
        )
    }
}

pub async fn replay(session: &Session, arguments: &Arguments) -> Result<ExitCode> {
    let bulk = &arguments.bulk;
    let by = bulk.agreement.by()?;
    let found = find(session, &arguments.which).await?;
    let count = found.understood.len();
    let now = bulk.agreement.of(count);
    if count > 0 || bulk.agreement.is_expecting() {
        let question = format!("Found {}\nReplay {now} of them?", found.text());
        if let Consent::Refused(why) = bulk.agreement.consent(count, &question) {
            return refuse(session, &found, &why);
        }
    }
    let tally = match now {
        0 => Tally::default(),
        _ => carry_out(session, arguments, &found.understood[..now]).await?,
    };
    tally.show(session, &found, &by)
}

/// Replays, and writes into the audit what was done, also where it was broken off.
async fn carry_out(session: &Session, arguments: &Arguments, causes: &[Cause]) -> Result<Tally> {
    let bulk = &arguments.bulk;
    let broker = session.broker("replay");
    let mut replay = UnrecognisedReplay {
        session,
        facts: session.fact_writer(&broker, CONFIRM_TIMEOUT)?,
        readers: session.readers()?,
        wait: bulk.speed.wait,
        tally: Tally::default(),
    };
    let ended = tokio::select! {
        ended = replay.run(causes, &bulk.speed) => ended,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("broken off; replay what is left")),
    };
    broker.close().await;
    let mut tally = replay.tally;
    if let Err(error) = &ended {
        tally.stopped.get_or_insert(error.to_string());
    }
    record(session, arguments, &tally).await?;
    ended.map(|()| tally)
}

async fn record(session: &Session, arguments: &Arguments, tally: &Tally) -> Result<()> {
    let record = AuditRecord {
        by: arguments.bulk.agreement.by()?,
        action: "readmit",
        filter: Some(arguments.which.document()),
        letters: Some(tally.replayed as i64),
        reason: None,
        result: Some(tally.counts()),
    };
    Ok(acts::record(&session.pool, &record, OffsetDateTime::now_utc()).await?)
}

fn refuse(session: &Session, found: &FoundDeliveries, why: &str) -> Result<ExitCode> {
    match session.json {
        true => say_json(
            &json!({ "found": found.understood.len(), "others": found, "replayed": 0, "error": why }),
        )?,
        false => say(&format!("Nothing was replayed: {why}. Found {}", found.text())),
    }
    Ok(ExitCode::from(2))
}

/// What has become of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Became {
    Settled(String),
    Failed(String),
    NotKnown,
}

/// What has become of everything so far.
#[derive(Debug, Default)]
struct Tally {
    /// Handed through the front door.
    replayed: usize,
    outcomes: BTreeMap<String, usize>,
    failed: Vec<(Cause, String)>,
    not_known: Vec<Cause>,
    /// Recognised or erased by somebody else since they were found.
    meanwhile: usize,
    /// Why it ended before everything was replayed.
    stopped: Option<String>,
}

impl Tally {
    fn note(&mut self, cause: Cause, became: Became) {
        self.replayed += 1;
        match became {
            Became::Settled(outcome) => *self.outcomes.entry(outcome).or_default() += 1,
            Became::Failed(outcome) => {
                *self.outcomes.entry(outcome.clone()).or_default() += 1;
                self.failed.push((cause, outcome));
            }
            Became::NotKnown => self.not_known.push(cause),
        }
    }

    fn is_good(&self) -> bool {
        self.failed.is_empty() && self.not_known.is_empty() && self.stopped.is_none()
    }

    fn portion(&self) -> Portion {
        match (&self.stopped, self.is_good()) {
            (Some(_), _) => Portion::Stops,
            (None, true) => Portion::Well,
            (None, false) => Portion::Badly,
        }
    }

    fn show(&self, session: &Session, found: &FoundDeliveries, by: &str) -> Result<ExitCode> {
        match session.json {
            true => say_json(&self.json(found, by))?,
            false => say(&self.text(found)),
        }
        Ok(if self.is_good() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn json(&self, found: &FoundDeliveries, by: &str) -> serde_json::Value {
        let failed = self.failed.iter().take(NAMED_MAX);
        let not_known = self.not_known.iter().take(NAMED_MAX);
        json!({
            "by": by,
            "found": found.understood.len(),
            "others": found,
            "replayed": self.replayed,
            "outcomes": self.outcomes,
            "failed": self.failed.len(),
            "failed_first": failed
                .map(|(cause, outcome)| json!({ "delivery": cause.to_string(), "outcome": outcome }))
                .collect::<Vec<_>>(),
            "not_known_yet": self.not_known.len(),
            "not_known_yet_first": not_known.map(Cause::to_string).collect::<Vec<_>>(),
            "meanwhile": self.meanwhile,
            "stopped": self.stopped,
        })
    }

    fn counts(&self) -> serde_json::Value {
        json!({
            "replayed": self.replayed,
            "outcomes": self.outcomes,
            "failed": self.failed.len(),
            "not_known_yet": self.not_known.len(),
            "meanwhile": self.meanwhile,
            "stopped": self.stopped,
        })
    }

    fn text(&self, found: &FoundDeliveries) -> String {
        if found.understood.is_empty() {
            return format!("Nothing to replay. Found {}", found.text());
        }
        let outcomes = self.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}"));
        let unknown = Some(self.not_known.len()).filter(|count| *count > 0);
        let parts: Vec<String> =
            outcomes.chain(unknown.map(|count| format!("{count} not known yet"))).collect();
        let all = format!("{} replayed of {} found", self.replayed, found.understood.len());
        let line = match parts.is_empty() {
            true => format!("{all}."),
            false => format!("{all}: {}.", parts.join(", ")),
        };
        let mut lines = vec![if self.is_good() { Style::Good } else { Style::Bad }.paint(&line)];
        if self.meanwhile > 0 {
            lines.push(format!("{} were recognised or erased meanwhile.", self.meanwhile));
        }
        lines.extend(self.failed.iter().take(NAMED_MAX).map(|(cause, outcome)| {
            let see = if outcome == DEAD_LETTER { "dlq list --event" } else { "fact show" };
            format!("  {cause}: {outcome}; see bursar {see} {cause}")
        }));
        lines.extend(
            self.not_known
                .iter()
                .take(NAMED_MAX)
                .map(|cause| format!("  {cause}: not known yet; is the fleet running? See bursar doctor")),
        );
        lines.extend(self.stopped.iter().map(|why| format!("Stopped: {why}.")));
        lines.join("\n")
    }
}

struct UnrecognisedReplay<'a> {
    session: &'a Session,
    facts: FactWriter,
    readers: Readers,
    /// How long to wait for what becomes of each.
    wait: Duration,
    tally: Tally,
}

impl UnrecognisedReplay<'_> {
    async fn run(&mut self, causes: &[Cause], speed: &Speed) -> Result<()> {
        let portion = async |causes: &[Cause]| {
            self.some(causes).await?;
            Ok(self.tally.portion())
        };
        let failed = in_portions(causes, speed, "deliveries replayed", portion).await?;
        if let Some(CanaryFailed { first, left }) = failed {
            let why = format!("of the first {first} not all ended well, so the other {left} were left alone");
            self.tally.stopped.get_or_insert(why);
        }
        Ok(())
    }

    async fn some(&mut self, causes: &[Cause]) -> Result<()> {
        let deliveries = self.still_understood(causes).await?;
        self.tally.meanwhile += causes.len() - deliveries.len();
        if deliveries.is_empty() {
            return Ok(());
        }
        let dead_before = copies(&self.session.pool, &facts_of(&deliveries)).await?;
        let envelopes = deliveries.iter().flat_map(|(_, envelopes)| envelopes.clone()).collect();
        if let Err(rejected) = self.facts.state(envelopes).await {
            self.tally.stopped = Some(rejected.to_string());
            return Ok(());
        }
        let became = self.wait_for(&deliveries, &dead_before).await?;
        if became.iter().all(|became| *became == Became::NotKnown) {
            self.tally.stopped = Some(format!(
                "nothing is known of {} within {}; they are settled once the fleet gets to them",
                deliveries.len(),
                humantime::format_duration(self.wait)
            ));
        }
        for ((cause, _), became) in deliveries.into_iter().zip(became) {
            self.tally.note(cause, became);
        }
        Ok(())
    }

    /// Read anew: what somebody else has recognised or erased since is left alone.
    async fn still_understood(&self, causes: &[Cause]) -> Result<Vec<(Cause, Vec<Envelope>)>> {
        let mut connection = self.session.pool.acquire().await.doing("taking a connection")?;
        let settings = self.session.config.settings();
        let causes: Vec<&Cause> = causes.iter().collect();
        let deliveries = gate::still_unrecognised(&mut connection, &causes).await?;
        Ok(deliveries
            .into_iter()
            .filter_map(|delivery| match delivery.today(&settings) {
                Today::Understood(envelopes) => Some((delivery.cause, envelopes)),
                Today::NotUnderstood | Today::BodyGone => None,
            })
            .collect())
    }

    /// What becomes of each, as soon as it is known of all, and at the latest when the time is up.
    async fn wait_for(
        &self,
        deliveries: &[(Cause, Vec<Envelope>)],
        dead_before: &BTreeMap<Cause, i64>,
    ) -> Result<Vec<Became>> {
        let facts = facts_of(deliveries);
        let pool = &self.session.pool;
        let deadline = Instant::now() + self.wait;
        loop {
            // Dead letters first: of what has died no state is known, however long one waits.
            let dead = copies(pool, &facts).await?;
            let mut connection = pool.acquire().await.doing("taking a connection")?;
            let states = outcomes::states(&mut connection, &self.readers, &facts).await?;
            drop(connection);
            let known = KnownOutcomes {
                dead: dead
                    .into_iter()
                    .filter(|(cause, copies)| dead_before.get(cause) < Some(copies))
                    .collect(),
                states: states.iter().map(|state| (&state.cause, state)).collect(),
            };
            let became: Vec<Became> = deliveries.iter().map(|(_, facts)| became(facts, &known)).collect();
            let is_over = Instant::now() >= deadline;
            if is_over || became.iter().all(|became| *became != Became::NotKnown) {
                return Ok(became);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn facts_of(deliveries: &[(Cause, Vec<Envelope>)]) -> Vec<Cause> {
    deliveries.iter().flat_map(|(_, facts)| facts.iter().map(|fact| fact.cause.clone())).collect()
}

/// What the fleet says of the facts of a portion.
struct KnownOutcomes<'a> {
    /// Those that have become dead letters since they were sent.
    dead: BTreeMap<Cause, i64>,
    states: HashMap<&'a Cause, &'a FactState>,
}

/// A delivery has become what the worst of its facts has; where all are well, what its primary one has.
fn became(facts: &[Envelope], known: &KnownOutcomes<'_>) -> Became {
    let outcomes: Vec<Option<FactEnd>> = facts.iter().map(|fact| known.outcome(fact)).collect();
    let failed = outcomes.iter().flatten().find(|ended| ended.is_failure());
    match (failed, outcomes.iter().all(Option::is_some)) {
        (Some(ended), _) => Became::Failed(ended.as_str().to_owned()),
        (None, false) => Became::NotKnown,
        (None, true) => {
            let primary = outcomes.iter().flatten().next();
            Became::Settled(primary.map_or_else(String::new, |ended| ended.as_str().to_owned()))
        }
    }
}

impl KnownOutcomes<'_> {
    /// A failure at one of its readers is known at once; that it went well once all of them have settled it.
    fn outcome(&self, fact: &Envelope) -> Option<FactEnd> {
        let state = self.states.get(&fact.cause).filter(|state| state.kind == fact.fact.kind().as_str());
        let dead = || self.dead.contains_key(&fact.cause).then_some(FactEnd::DeadLetter);
        state.and_then(|state| state.end()).or_else(dead)
    }
}
