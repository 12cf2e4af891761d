//! `bursar ledger rebuild --compare`: every stored fact once more, by today's code, and what then differs.
//!
//! Facts are replayed in the order in which they were settled (operators' acts and expiry among them), each at its time
//! and by the rules and catalogs that decided it then, into a scratch schema; then accounts, payments, lots and the
//! journal's hashes are compared. Other readers that keep tables of their own are followed beside it, fact by fact in the one
//! order in which all of them settled ([`Rebuilds`]). On a sound ledger nothing differs, and what a fix would change is seen before it is
//! deployed.
//!
//! All of it happens in one transaction that is rolled back: it sees one moment of the ledger, can run beside a live
//! fleet, and leaves nothing behind, wherever it stops. Memory stays flat: facts come by a cursor, differences are
//! found by the database.

mod compare;

use crate::read::{Restatable, RestatableCursor, restatable};
use crate::verify::{OnProgress, Progress};
use crate::{Effects, Ledger, settle, store};
use bus::Worker;
use db::{Doing, Error, Pool, Work};
use domain::catalog::{Catalog, CatalogVersion, RateAppliesTo};
use domain::ledger::{RecordedRules, Rules};
use domain::record::Reading;
use domain::{Cause, Envelope, Fact, FactKind};
use jobs::Rebuilds;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Row};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use time::OffsetDateTime;
use uuid::Uuid;

pub use compare::{Differences, LedgerDifference};

/// Facts replayed at a time.
const STEP: usize = 500;

/// `bursar ledger rebuild --compare --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rebuilt {
    /// Nothing differs, and no payment is read differently today.
    pub ok: bool,
    /// Every fact was replayed, and all ended the same, to the last hash.
    pub is_reproduced: bool,
    /// Facts replayed.
    pub facts: u64,
    /// Outcomes whose fact the gate has not stored, or not yet: they cannot be replayed.
    pub missing: i64,
    /// Facts settled before rules were recorded, decided by today's.
    pub without_rules: u64,
    pub accounts: Differences,
    pub payments: Differences,
    pub lots: Differences,
    /// The first transaction of each account that is another now.
    pub journal: Differences,
    /// Facts with another outcome.
    pub outcomes: Differences,
    /// Delivered payments whose credits stand as they were understood before, and would be others today.
    pub restatable: RestatablePayments,
    /// What other readers keep in tables of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<ReaderRebuilt>,
}

/// What was made anew of another reader's tables.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReaderRebuilt {
    pub reader: &'static str,
    /// Facts replayed.
    pub facts: u64,
    pub compared: Vec<Compared>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// `disputes`, `restrictions`.
    pub name: &'static str,
    #[serde(flatten)]
    pub differences: Differences,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RestatablePayments {
    pub count: i64,
    /// The first of them.
    pub first: Vec<Restatable>,
}

/// Replays everything and compares, naming at most `named_max` differences of each kind. `today` decides facts that were
/// settled before rules were recorded.
///
/// # Errors
/// Those of the database, and where a stored fact, or the rules that decided it, cannot be read.
pub async fn rebuild(
    pool: &Pool,
    today: &Rules,
    named_max: i64,
    watcher: OnProgress<'_>,
) -> Result<Rebuilt, Error> {
    rebuild_with(pool, today, &[], named_max, watcher).await
}

/// As [`rebuild`], and the tables of other readers.
///
/// # Errors
/// Those of the database, and where a stored fact, or the rules that decided it, cannot be read.
pub async fn rebuild_with(
    pool: &Pool,
    today: &Rules,
    others: &[Arc<dyn Rebuilds>],
    named_max: i64,
    watcher: OnProgress<'_>,
) -> Result<Rebuilt, Error> {
    let mut replay = Rebuild::begin(pool, today, others).await?;
    let counts = replay.run(watcher).await?;
    let main = replay.main.clone();
    let work = &mut replay.work;
    run(work, read_whole_tables()).await?;
    let mut differences = Vec::new();
    for comparison in compare::COMPARISONS {
        watcher(Progress { rule: comparison.says, checked: 0, of: counts.facts as i64 });
        differences.push(comparison.run(work, &main, named_max).await?);
    }
    let others = replay.compare_others(&counts, named_max).await?;
    let missing = replay.missing().await?;
    let restatable = replay.restatable(today, named_max, watcher).await?;
    replay.work.abandon().await;
    let [accounts, payments, lots, journal, outcomes] =
        <[Differences; 5]>::try_from(differences).expect("one list for each comparison");
    let all = [&accounts, &payments, &lots, &journal, &outcomes];
    let mut of_others = others.iter().flat_map(|other| &other.compared);
    let is_reproduced = missing == 0
        && all.iter().all(|differences| differences.count == 0)
        && of_others.all(|compared| compared.differences.count == 0);
    Ok(Rebuilt {
        ok: is_reproduced && restatable.count == 0,
        is_reproduced,
        facts: counts.facts,
        missing,
        without_rules: counts.without_rules,
        accounts,
        payments,
        lots,
        journal,
        outcomes,
        restatable,
        others,
    })
}

#[derive(Default)]
struct RebuildCounts {
    facts: u64,
    without_rules: u64,
    /// By reader.
    of_others: BTreeMap<String, u64>,
}

/// The scratch schema and what the replay needs of the recorded one.
struct Rebuild {
    work: Work,
    /// The schema of the ledger itself, quoted.
    main: String,
    rules: HashMap<i64, Rules>,
    today: Rules,
    others: Vec<Arc<dyn Rebuilds>>,
}

/// A fact as it was settled.
struct SettledFact {
    reader: String,
    envelope: Envelope,
    at: OffsetDateTime,
    rules: Option<i64>,
}

impl Rebuild {
    async fn begin(pool: &Pool, today: &Rules, others: &[Arc<dyn Rebuilds>]) -> Result<Self, Error> {
        let transaction =
            pool.begin_with("begin isolation level repeatable read").await.doing("beginning a replay")?;
        let mut work = Work::within(pool.clone(), transaction, OffsetDateTime::UNIX_EPOCH);
        // The plans of the workers, who look rows up by their keys; but not before the cursor has its own.
        let main: String = sqlx::query_scalar(
            "select quote_ident(current_schema()) from set_config('statement_timeout', '0', true)",
        )
        .fetch_one(work.connection().await?)
        .await
        .doing("asking for the ledger's schema")?;
        let (rules, catalogs) = recorded(&mut work, &main).await?;
        let today = before_rules_were_recorded(today, &catalogs);
        run(&mut work, open_cursor(&main, &readers(others))).await?;
        run(&mut work, open_scratch()).await?;
        for migration in db::MIGRATIONS.iter() {
            run(&mut work, migration.sql.as_str().to_owned()).await?;
        }
        Ok(Self { work, main, rules, today, others: others.to_vec() })
    }

    async fn run(&mut self, watcher: OnProgress<'_>) -> Result<RebuildCounts, Error> {
        let of = self.count().await?;
        let mut counts = RebuildCounts::default();
        loop {
            let step = self.next().await?;
            if step.is_empty() {
                for other in self.others.clone() {
                    other.finish(&mut self.work).await?;
                }
                return Ok(counts);
            }
            let are_together =
                |a: &SettledFact, b: &SettledFact| a.reader == b.reader && a.at == b.at && a.rules == b.rules;
            for batch in step.chunk_by(are_together) {
                match batch.first().is_some_and(|fact| fact.reader == Ledger::NAME) {
                    true => self.settle(batch).await?,
                    false => self.replay_other(batch).await?,
                }
            }
            let of_ledger = || step.iter().filter(|fact| fact.reader == Ledger::NAME);
            counts.facts += of_ledger().count() as u64;
            counts.without_rules += of_ledger().filter(|fact| fact.rules.is_none()).count() as u64;
            for fact in step.iter().filter(|fact| fact.reader != Ledger::NAME) {
                *counts.of_others.entry(fact.reader.clone()).or_default() += 1;
            }
            let replayed = counts.facts + counts.of_others.values().sum::<u64>();
            watcher(Progress { rule: "facts replayed", checked: replayed as i64, of });
        }
    }

    /// One batch of facts that were settled together, as the worker settles them.
    async fn settle(&mut self, batch: &[SettledFact]) -> Result<(), Error> {
        let Some(first) = batch.first() else { return Ok(()) };
        let rules = match first.rules {
            None => &self.today,
            Some(version) => self
                .rules
                .get(&version)
                .ok_or_else(|| Error::stored("a fact's rules", format!("{version}, which are not kept")))?,
        };
        self.work.now = first.at;
        let envelopes: Vec<Envelope> = batch.iter().map(|settled| settled.envelope.clone()).collect();
        let mut batch = store::lock(&mut self.work, &envelopes, rules).await?;
        for envelope in &envelopes {
            settle(&mut batch, rules, first.at, envelope, &mut Effects::default())?;
        }
        let version = RecordedRules::of(rules).version();
        store::record_rules(&mut self.work, rules, version).await?;
        store::save(&mut self.work, batch, version).await
    }

    /// One batch of facts that another reader settled together.
    async fn replay_other(&mut self, batch: &[SettledFact]) -> Result<(), Error> {
        let Some(first) = batch.first() else { return Ok(()) };
        self.work.now = first.at;
        let envelopes: Vec<Envelope> = batch.iter().map(|settled| settled.envelope.clone()).collect();
        let own = self.others.iter().filter(|other| other.reader() == first.reader).cloned();
        for other in own.collect::<Vec<_>>() {
            other.replay(&mut self.work, &envelopes).await?;
        }
        Ok(())
    }

    async fn compare_others(
        &mut self,
        counts: &RebuildCounts,
        named_max: i64,
    ) -> Result<Vec<ReaderRebuilt>, Error> {
        let mut rebuilt = Vec::new();
        for other in self.others.clone() {
            let mut compared = Vec::new();
            for spec in other.comparisons() {
                let differences =
                    compare::differences(&mut self.work, &self.main, spec.sql, spec.name, named_max).await?;
                compared.push(Compared { name: spec.name, differences });
            }
            let facts = counts.of_others.get(other.reader()).copied().unwrap_or_default();
            rebuilt.push(ReaderRebuilt { reader: other.reader(), facts, compared });
        }
        Ok(rebuilt)
    }

    async fn next(&mut self) -> Result<Vec<SettledFact>, Error> {
        let statement = format!("fetch {STEP} from replay");
        let rows = sqlx::query(AssertSqlSafe(statement))
            .fetch_all(self.work.connection().await?)
            .await
            .doing("reading stored facts")?;
        rows.into_iter().map(|row| read(&row)).collect()
    }

    async fn count(&mut self) -> Result<i64, Error> {
        let readers = readers(&self.others);
        let statement = format!("select count(*) from {}.outcomes where reader in ({readers})", self.main);
        sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_one(self.work.connection().await?)
            .await
            .doing("counting stored facts")
    }

    /// Of the ledger as it stands, not of the rebuilt one.
    async fn restatable(
        &mut self,
        today: &Rules,
        named_max: i64,
        watcher: OnProgress<'_>,
    ) -> Result<RestatablePayments, Error> {
        run(&mut self.work, format!("set local search_path = {}", self.main)).await?;
        let (mut place, mut found) = (RestatableCursor::default(), RestatablePayments::default());
        while let Some(more) = restatable(self.work.connection().await?, &mut place, today).await? {
            found.count += more.len() as i64;
            let room = (named_max as usize).saturating_sub(found.first.len());
            found.first.extend(more.into_iter().take(room));
            watcher(Progress { rule: "reading payments as today", checked: place.checked, of: 0 });
        }
        Ok(found)
    }

    async fn missing(&mut self) -> Result<i64, Error> {
        let main = &self.main;
        let statement = format!(
            "select count(*) from {main}.outcomes f
             where reader in ({})
               and not exists (select from {main}.inbox i where i.source = f.source and i.id = f.id)",
            readers(&self.others)
        );
        sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_one(self.work.connection().await?)
            .await
            .doing("counting facts that are not stored")
    }
}

/// The readers whose facts are replayed, as a list of SQL. Names of workers are plain.
fn readers(others: &[Arc<dyn Rebuilds>]) -> String {
    let names = std::iter::once(Ledger::NAME).chain(others.iter().map(|other| other.reader()));
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

fn open_cursor(main: &str, readers: &str) -> String {
    format!(
        "declare replay no scroll cursor for
         select f.reader, f.source, f.id, f.kind, f.settled_at, f.rules, i.fact, i.time
         from {main}.outcomes f join {main}.inbox i using (source, id)
         where f.reader in ({readers}) order by f.position"
    )
}

fn open_scratch() -> String {
    let scratch = format!("bursar_rebuild_{}", Uuid::now_v7().simple());
    format!(
        "create schema {scratch}; set local search_path = {scratch};
         set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off; set local jit = off"
    )
}

fn read_whole_tables() -> String {
    "set local enable_seqscan = on; set local enable_hashjoin = on; set local enable_mergejoin = on"
        .to_owned()
}

async fn run(work: &mut Work, statements: String) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(work.connection().await?)
        .await
        .doing("preparing a replay")
        .map(drop)
}

type Catalogs = BTreeMap<CatalogVersion, Catalog>;

/// The rules that ever decided, each with every catalog that a payment was ever granted by.
async fn recorded(work: &mut Work, main: &str) -> Result<(HashMap<i64, Rules>, Catalogs), Error> {
    let statement = format!("select version, content from {main}.catalog_versions");
    let rows: Vec<(String, Json<Catalog>)> = sqlx::query_as(AssertSqlSafe(statement))
        .fetch_all(work.connection().await?)
        .await
        .doing("reading catalogs")?;
    let catalogs: Catalogs =
        rows.into_iter().map(|(version, content)| (CatalogVersion(version), content.0)).collect();
    let statement = format!("select rules, content from {main}.rules_versions");
    let rows: Vec<(i64, Json<RecordedRules>)> = sqlx::query_as(AssertSqlSafe(statement))
        .fetch_all(work.connection().await?)
        .await
        .doing("reading rules")?;
    let rules =
        rows.into_iter().map(|(version, content)| (version, content.0.rules(catalogs.clone()))).collect();
    Ok((rules, catalogs))
}

/// Today's rules for facts that were settled before rules were recorded: as they were read then, when a rate applied to any
/// payment and no price stated what one unit costs.
fn before_rules_were_recorded(today: &Rules, recorded: &Catalogs) -> Rules {
    let mut catalog = today.catalogs[&today.current].clone();
    catalog.rate_applies_to = RateAppliesTo::Any;
    catalog.prices.values_mut().flat_map(BTreeMap::values_mut).for_each(|price| price.amounts.clear());
    let (current, mut catalogs) = (catalog.version(), recorded.clone());
    catalogs.insert(current.clone(), catalog);
    Rules { current, catalogs, reading: Reading::First, ..today.clone() }
}

fn read(row: &sqlx::postgres::PgRow) -> Result<SettledFact, Error> {
    let column = |error: sqlx::Error| Error::stored("a fact", error);
    let cause =
        Cause { source: row.try_get("source").map_err(column)?, id: row.try_get("id").map_err(column)? };
    let kind: String = row.try_get("kind").map_err(column)?;
    let text: String = row.try_get("fact").map_err(column)?;
    let unreadable = |why: String| Error::stored("a fact", format!("{cause}: {why}"));
    let kind = FactKind::parse(&kind).ok_or_else(|| unreadable(format!("a kind {kind:?}")))?;
    let data = RawValue::from_string(text).map_err(|error| unreadable(error.to_string()))?;
    let fact = Fact::parse(kind, &data).map_err(|error| unreadable(error.to_string()))?;
    Ok(SettledFact {
        reader: row.try_get("reader").map_err(column)?,
        at: row.try_get("settled_at").map_err(column)?,
        rules: row.try_get("rules").map_err(column)?,
        envelope: Envelope {
            cause,
            time: row.try_get("time").map_err(column)?,
            received_at: None,
            traceparent: None,
            raw: None,
            fact,
        },
    })
}
