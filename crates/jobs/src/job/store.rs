//! SQL of jobs. All times are read from the clock of Postgres, so that one clock measures the leases of all processes.

use db::{Doing, Error, Pool, Work};
use domain::AccountId;
use serde_json::value::RawValue;
use sqlx::types::Json;
use std::collections::BTreeSet;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

/// What a row says of its job; the picture is in [`super`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    Due,
    Calling,
    Unknown,
    Asking,
    Done,
    Dead,
}

impl JobState {
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Due => "due",
            JobState::Calling => "calling",
            JobState::Unknown => "unknown",
            JobState::Asking => "asking",
            JobState::Done => "done",
            JobState::Dead => "dead",
        }
    }

    fn read(text: &str) -> Result<Self, Error> {
        let all = [
            JobState::Due,
            JobState::Calling,
            JobState::Unknown,
            JobState::Asking,
            JobState::Done,
            JobState::Dead,
        ];
        let known = all.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| Error::stored("the state of a job", text))
    }
}

/// What became of scheduling a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduled {
    New,
    /// The id is known, and nothing was changed.
    Known {
        state: JobState,
        /// True of a job whose intent is forgotten ([`purge`]): it cannot be compared any more.
        is_same_intent: bool,
    },
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub state: JobState,
    pub attempt: u32,
    /// When it goes on; nothing at its end.
    pub next_at: Option<OffsetDateTime>,
    /// Why it was given up.
    pub code: Option<String>,
    /// It was given up, and what became of its last call is not known.
    pub is_unknown: bool,
}

/// A row that is held by this process, for a lease.
#[derive(Debug)]
pub(super) struct TakenJob {
    pub id: String,
    pub intent: Box<RawValue>,
    /// `calling` or `asking`.
    pub step: JobState,
    /// Its lease had ended: the process that called or asked wrote no end.
    pub is_orphan: bool,
    pub attempt: i32,
    pub calls: i32,
    pub asks: i32,
    pub called_at: OffsetDateTime,
    /// How long ago that was when the row was taken.
    pub age: Duration,
    pub taken_at: Instant,
    pub holder: Uuid,
}

/// What one look took.
pub(super) struct TakenJobs {
    pub jobs: Vec<TakenJob>,
    /// The key behind which the next leap begins, so that each key has its turn: the last one where there may be more, else the
    /// first of all.
    pub next_after: String,
}

/// How a held row goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AttemptEnd {
    Done,
    Again(Duration, String),
    /// As [`AttemptEnd::Again`]; no call was begun, and none is counted.
    NotCalled(Duration, String),
    Unknown(Duration, String),
    Dead {
        code: &'static str,
        why: String,
        is_unknown: bool,
    },
}

/// So many rows are looked at in order of time. A line of full keys that is longer is leapt over.
const FRONT: i64 = 1000;

/// What is written of why; the whole is for the log of the outside.
const WHY_MAX: usize = 1000;

/// A job as it is written.
pub(super) struct NewRow<'a> {
    pub id: &'a str,
    pub key: String,
    pub intent: String,
    pub account: Option<String>,
    pub at: Option<OffsetDateTime>,
}

/// Inserts those whose id is not known, and says of each what became of it, in their order. One statement, two where some are
/// known.
pub(super) async fn schedule(
    work: &mut Work,
    kind: &str,
    rows: &[NewRow<'_>],
) -> Result<Vec<Scheduled>, Error> {
    let ids: Vec<&str> = rows.iter().map(|row| row.id).collect();
    let mut inserted = insert(work, kind, &ids, rows).await?;
    let is_new: Vec<bool> = ids.iter().map(|id| inserted.remove(*id)).collect();
    if is_new.iter().all(|is_new| *is_new) {
        return Ok(vec![Scheduled::New; rows.len()]);
    }
    let known = known(work, kind, &ids, rows).await?;
    let scheduled = known.into_iter().zip(is_new);
    Ok(scheduled.map(|(known, is_new)| if is_new { Scheduled::New } else { known }).collect())
}

/// In the order of their ids: of two who schedule the same ones the other waits for the first.
async fn insert(
    work: &mut Work,
    kind: &str,
    ids: &[&str],
    rows: &[NewRow<'_>],
) -> Result<BTreeSet<String>, Error> {
    let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    let intents: Vec<&str> = rows.iter().map(|row| row.intent.as_str()).collect();
    let accounts: Vec<Option<&str>> = rows.iter().map(|row| row.account.as_deref()).collect();
    let times: Vec<Option<OffsetDateTime>> = rows.iter().map(|row| row.at).collect();
    let inserted = sqlx::query_scalar!(
        "insert into jobs (kind, id, key, intent, account, state, next_at, scheduled_at)
         select $1, id, key, intent::json, account, 'due', coalesce(at, now()), now()
         from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
           with ordinality as n (id, key, intent, account, at, place)
         order by id, place
         on conflict (kind, id) do nothing
         returning id",
        kind,
        ids as _,
        &keys as _,
        &intents as _,
        &accounts as _,
        &times as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("scheduling jobs")?;
    Ok(inserted.into_iter().collect())
}

/// How jobs stand that are there, in the order of `rows`.
async fn known(
    work: &mut Work,
    kind: &str,
    ids: &[&str],
    rows: &[NewRow<'_>],
) -> Result<Vec<Scheduled>, Error> {
    let intents: Vec<&str> = rows.iter().map(|row| row.intent.as_str()).collect();
    let known = sqlx::query!(
        r#"select j.state, (j.forgotten_at is not null or j.intent::text = n.intent) as "is_same_intent!"
           from unnest($2::text[], $3::text[]) with ordinality as n (id, intent, place)
           join jobs j on j.kind = $1 and j.id = n.id order by n.place"#,
        kind,
        ids as _,
        &intents as _,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("looking at scheduled jobs")?;
    let known: Vec<Scheduled> = known
        .into_iter()
        .map(|row| {
            let state = JobState::read(&row.state)?;
            Ok(Scheduled::Known { state, is_same_intent: row.is_same_intent })
        })
        .collect::<Result<_, Error>>()?;
    match known.len() == rows.len() {
        true => Ok(known),
        false => Err(Error::stored("a job", "one that was there a moment ago is gone")),
    }
}

/// Takes up to `room` rows that are due or whose lease has ended, each for `lease`, as far as the limits of kind and key
/// allow.
///
/// Takers of one kind go one after another, under a lock: what they count is what is under way in all processes. Rows of a key
/// that is full are looked past; of the others the oldest go first. Where the first [`FRONT`] are all of full keys, the look
/// leaps from key to key instead, and takes what is due of those behind `after`, in their order: it costs a step of an index
/// for each key, however long the line of any of them is. A taker that got rows may take more at once.
pub(super) async fn take(
    pool: &Pool,
    kind: &str,
    room: u32,
    limits: &super::JobLimits,
    after: &str,
) -> Result<TakenJobs, Error> {
    let mut transaction = pool.begin().await.map_err(Error::Away)?;
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('bursar jobs ' || $1::text, 0))", kind)
        .execute(&mut *transaction)
        .await
        .doing("waiting for others who take jobs")?;
    let holder = Uuid::now_v7();
    let rows = sqlx::query_file!(
        "src/job/store/take.sql",
        kind,
        i64::from(room),
        i64::from(limits.of_key),
        i64::from(limits.of_kind),
        holder,
        limits.lease.as_secs_f64(),
        FRONT,
        after,
    )
    .fetch_all(&mut *transaction)
    .await
    .doing("taking jobs")?;
    transaction.commit().await.doing("taking jobs")?;
    let taken_at = Instant::now();
    let last = rows.iter().map(|row| &row.key).max().filter(|_| rows.len() as u64 >= u64::from(room));
    let next_after = last.cloned().unwrap_or_default();
    let jobs = rows.into_iter().map(|row| {
        let step = JobState::read(&row.state)?;
        Ok(TakenJob {
            id: row.id,
            intent: row.intent.0,
            step,
            is_orphan: row.is_orphan,
            attempt: row.attempt,
            calls: row.calls,
            asks: row.asks,
            called_at: row.called_at,
            age: Duration::try_from_secs_f64(row.age_seconds).unwrap_or_default(),
            taken_at,
            holder,
        })
    });
    Ok(TakenJobs { jobs: jobs.collect::<Result<_, Error>>()?, next_after })
}

/// Whether the row is still this holder's. It stays locked until the transaction ends.
pub(super) async fn hold(work: &mut Work, kind: &str, taken: &TakenJob) -> Result<bool, Error> {
    let held = sqlx::query_scalar!(
        r#"select true as "held!" from jobs where kind = $1 and id = $2 and holder = $3 for update"#,
        kind,
        taken.id,
        taken.holder,
    )
    .fetch_optional(work.connection().await?)
    .await
    .doing("looking whether a job is held still")?;
    Ok(held.is_some())
}

/// Writes the end of a call or a question, which is the beginning of what comes next.
pub(super) async fn end(
    work: &mut Work,
    kind: &str,
    taken: &TakenJob,
    end: &AttemptEnd,
) -> Result<(), Error> {
    let (state, delay, why, code, is_unknown) = match end {
        AttemptEnd::Done => (JobState::Done, None, None, None, false),
        AttemptEnd::Again(delay, why) | AttemptEnd::NotCalled(delay, why) => {
            (JobState::Due, Some(*delay), Some(why), None, false)
        }
        AttemptEnd::Unknown(delay, why) => (JobState::Unknown, Some(*delay), Some(why), None, false),
        AttemptEnd::Dead { code, why, is_unknown } => {
            (JobState::Dead, Some(Duration::ZERO), Some(why), Some(*code), *is_unknown)
        }
    };
    let why = why.map(|why| shortened(why));
    let not_called = i32::from(matches!(end, AttemptEnd::NotCalled(..)));
    sqlx::query!(
        "update jobs
         set state = $4, holder = null, next_at = now() + make_interval(secs => $5),
             ended_at = case when $4 in ('done', 'dead') then now() end,
             failures = case when $6::text is null then failures else
                            (case when jsonb_array_length(failures) >= 20 then failures - 0 else failures end)
                            || jsonb_build_object('at', now(), 'why', $6::text) end,
             code = $7, reason = case when $7::text is not null then $6 end, is_unknown = $8,
             calls = calls - $9::int
         where kind = $1 and id = $2 and holder = $3",
        kind,
        taken.id,
        taken.holder,
        state.as_str(),
        delay.map(|delay| delay.as_secs_f64()),
        why,
        code,
        is_unknown,
        not_called,
    )
    .execute(work.connection().await?)
    .await
    .doing("writing the end of a job's call")?;
    Ok(())
}

fn shortened(why: &str) -> String {
    let why = why.replace('\0', "\u{fffd}");
    match why.len() > WHY_MAX {
        true => format!("{} (shortened)", &why[..why.floor_char_boundary(WHY_MAX)]),
        false => why,
    }
}

/// A job that was given up and whose letter is not known to be published.
pub(super) struct Given {
    pub kind: String,
    pub id: String,
    pub intent: Json<Box<RawValue>>,
    pub code: String,
    pub reason: String,
    pub failures: Json<Vec<bus::Attempt>>,
    pub ended_at: OffsetDateTime,
    pub replay: Option<Uuid>,
    pub letter: Option<Uuid>,
}

/// Those whose letter is due, locked until the transaction ends.
pub(super) async fn given_up(
    connection: &mut db::PgConnection,
    kinds: &[&str],
    limit: i64,
) -> Result<Vec<Given>, Error> {
    sqlx::query_as!(
        Given,
        r#"select kind, id, intent as "intent: _", code as "code!", reason as "reason!", failures as "failures: _",
                  ended_at as "ended_at!", replay, letter
           from jobs
           where kind = any ($1) and state = 'dead' and next_at <= statement_timestamp()
           order by next_at limit $2 for update skip locked"#,
        kinds as _,
        limit,
    )
    .fetch_all(connection)
    .await
    .doing("looking for jobs that were given up")
}

/// Their letters are published and confirmed; of those of the second list not, and they are tried again after a while.
pub(super) async fn handed_over(
    connection: &mut db::PgConnection,
    published: &[(&str, &str)],
    failed: &[(&str, &str)],
    again: Duration,
) -> Result<(), Error> {
    let all = published.iter().chain(failed);
    let (kinds, ids): (Vec<&str>, Vec<&str>) = all.copied().unzip();
    let delays: Vec<Option<f64>> =
        (0..kinds.len()).map(|place| (place >= published.len()).then_some(again.as_secs_f64())).collect();
    sqlx::query!(
        "update jobs j set next_at = now() + make_interval(secs => delay)
         from unnest($1::text[], $2::text[], $3::float8[]) as o (kind, id, delay)
         where j.kind = o.kind and j.id = o.id and j.state = 'dead'",
        &kinds as _,
        &ids as _,
        &delays as _,
    )
    .execute(connection)
    .await
    .doing("marking letters of jobs as published")?;
    Ok(())
}

/// What a job that comes back finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Met {
    pub state: JobState,
    pub is_unknown: bool,
    pub is_same_intent: bool,
    pub replay: Option<Uuid>,
    pub attempt: i32,
}

/// The job that a letter names, locked. One whose intent is forgotten is none.
pub(super) async fn meet(work: &mut Work, kind: &str, id: &str, intent: &str) -> Result<Option<Met>, Error> {
    let row = sqlx::query!(
        r#"select state, is_unknown, intent::text = $3::text as "is_same_intent!", replay, attempt
           from jobs where kind = $1 and id = $2 and forgotten_at is null for update"#,
        kind,
        id,
        intent,
    )
    .fetch_optional(work.connection().await?)
    .await
    .doing("looking for the job of a letter")?;
    row.map(|row| {
        Ok(Met {
            state: JobState::read(&row.state)?,
            is_unknown: row.is_unknown,
            is_same_intent: row.is_same_intent,
            replay: row.replay,
            attempt: row.attempt,
        })
    })
    .transpose()
}

/// A dead job is due again; one that died unknown is asked about first. Its attempts are counted on, its failures are not.
pub(super) async fn put_back(
    work: &mut Work,
    kind: &str,
    id: &str,
    replayed: Option<bus::ReplayedLetter>,
) -> Result<(), Error> {
    sqlx::query!(
        "update jobs
         set state = case when is_unknown then 'unknown' else 'due' end, next_at = now(), ended_at = null, calls = 0, asks = 0,
             failures = '[]', code = null, reason = null, is_unknown = false, replay = $3, letter = $4
         where kind = $1 and id = $2 and state = 'dead'",
        kind,
        id,
        replayed.map(|replayed| replayed.replay),
        replayed.map(|replayed| replayed.letter),
    )
    .execute(work.connection().await?)
    .await
    .doing("putting a job back")?;
    Ok(())
}

/// Somebody has found out that nothing came of the last call of a job that was given up as unknown: a replay then calls. Tells
/// whether there was such a job.
///
/// # Errors
/// Those of the database.
pub async fn declare_failed(work: &mut Work, kind: &str, id: &str) -> Result<bool, Error> {
    let changed = sqlx::query!(
        "update jobs set is_unknown = false where kind = $1 and id = $2 and state = 'dead' and is_unknown",
        kind,
        id,
    )
    .execute(work.connection().await?)
    .await
    .doing("declaring a job's call to have failed")?;
    Ok(changed.rows_affected() == 1)
}

/// The state of a job; `None` if there is no such job.
///
/// # Errors
/// Those of the database.
pub async fn status(work: &mut Work, kind: &str, id: &str) -> Result<Option<Status>, Error> {
    let row = sqlx::query!(
        "select state, attempt, next_at, code, is_unknown from jobs where kind = $1 and id = $2",
        kind,
        id,
    )
    .fetch_optional(work.connection().await?)
    .await
    .doing("looking at a job")?;
    row.map(|row| {
        Ok(Status {
            state: JobState::read(&row.state)?,
            attempt: u32::try_from(row.attempt).unwrap_or_default(),
            next_at: row.next_at,
            code: row.code,
            is_unknown: row.is_unknown,
        })
    })
    .transpose()
}

/// How long jobs that are at an end are kept whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptFor {
    pub done: Duration,
    /// Those that were given up and whose letter is published. A letter that is replayed later finds no job.
    pub dead: Duration,
}

/// Forgets up to `limit` jobs that are at an end for longer, and returns how many. Of each its id and its state stay for good:
/// an id that is scheduled again is known, and calls nothing. Safe to repeat, and for several processes at once.
///
/// # Errors
/// Those of the database.
pub async fn purge(pool: &Pool, kept_for: KeptFor, limit: u32) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "with over as materialized (
             select kind, id from jobs
             where ended_at < now() - make_interval(secs => least($1::float8, $2::float8)) and next_at is null
               and forgotten_at is null
               and ended_at < now() - make_interval(secs => case state when 'done' then $1::float8 else $2::float8 end)
             order by ended_at limit $3 for update skip locked
         )
         update jobs j
         set intent = '{}', key = '-', account = null, failures = '[]', reason = case when reason is not null then 'forgotten' end,
             forgotten_at = now()
         from over o where j.kind = o.kind and j.id = o.id",
        kept_for.done.as_secs_f64(),
        kept_for.dead.as_secs_f64(),
        i64::from(limit),
    )
    .execute(pool)
    .await
    .doing("purging jobs")?;
    Ok(purged.rows_affected())
}

/// Forgets an account's jobs that are at their end, and returns how many: those that are done, and those that were given up and
/// whose letters are all closed.
pub(super) async fn forget(
    work: &mut Work,
    account: &AccountId,
    before: Option<OffsetDateTime>,
) -> Result<u64, Error> {
    let forgotten = sqlx::query!(
        "with closed as materialized (
             select j.kind, j.id from jobs j join dead_letters l on l.message_id = j.kind || '/' || j.id
             where j.account = $1 and j.state = 'dead' and j.forgotten_at is null
             group by j.kind, j.id having bool_and(l.closed_at is not null)
         )
         update jobs j
         set intent = '{}', key = '-', account = null, failures = '[]',
             reason = case when reason is not null then 'forgotten' end, forgotten_at = now()
         where account = $1 and forgotten_at is null and next_at is null and ($2::timestamptz is null or scheduled_at < $2)
           and (state = 'done' or (kind, id) in (select kind, id from closed))",
        account.as_str(),
        before,
    )
    .execute(work.connection().await?)
    .await
    .doing("forgetting an account's jobs")?;
    Ok(forgotten.rows_affected())
}

/// How many of an account's jobs keep their intent.
pub(super) async fn not_forgotten(
    work: &mut Work,
    account: &AccountId,
    before: Option<OffsetDateTime>,
) -> Result<u64, Error> {
    let left = sqlx::query_scalar!(
        r#"select count(*) as "left!" from jobs
           where account = $1 and forgotten_at is null and ($2::timestamptz is null or scheduled_at < $2)"#,
        account.as_str(),
        before,
    )
    .fetch_one(work.connection().await?)
    .await
    .doing("counting an account's jobs")?;
    Ok(left.unsigned_abs())
}

/// Sets the gauges of kinds: `bursar_jobs_due`, `bursar_jobs_running`, `bursar_jobs_unknown`, and `bursar_jobs_late_seconds`,
/// how late the oldest is that is due.
///
/// # Errors
/// Those of the database.
pub async fn measure(pool: &Pool, kinds: &[&'static str]) -> Result<(), Error> {
    let rows = sqlx::query!(
        r#"select kind as "kind!",
                  count(*) filter (where state = 'due' and next_at <= now()) as "due!",
                  count(*) filter (where state in ('calling', 'asking')) as "running!",
                  count(*) filter (where state in ('unknown', 'asking')) as "unknown!",
                  coalesce(extract(epoch from now() - min(next_at) filter (where state = 'due' and next_at <= now())), 0)::float8
                      as "late_seconds!"
           from jobs where kind = any ($1) and next_at is not null group by kind"#,
        kinds as _,
    )
    .fetch_all(pool)
    .await
    .doing("counting jobs")?;
    for kind in kinds {
        let row = rows.iter().find(|row| row.kind == *kind);
        let set = |name: &'static str, value: f64| metrics::gauge!(name, "kind" => *kind).set(value);
        set("bursar_jobs_due", row.map_or(0.0, |row| row.due as f64));
        set("bursar_jobs_running", row.map_or(0.0, |row| row.running as f64));
        set("bursar_jobs_unknown", row.map_or(0.0, |row| row.unknown as f64));
        set("bursar_jobs_late_seconds", row.map_or(0.0, |row| row.late_seconds));
    }
    Ok(())
}
