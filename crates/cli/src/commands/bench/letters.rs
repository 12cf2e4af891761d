//! `bench dead-letters`: how fast letters are recorded, how long an operator waits for an answer over all of them, and how
//! fast a replay puts them back, beside the speed at which the fleet takes the same facts at first hand.

use super::figures::{progress, round};
use super::fleet::FleetProcess;
use super::load::{self, Load, Mix};
use crate::output::table::{Column, Table};
use crate::output::{say, say_json};
use crate::scratch::Scratch;
use crate::session::Session;
use anyhow::{Result, bail};
use bus::{Message, queue};
use clap::Args;
use db::Doing;
use dead_letters::acts::{self, ActRequest, ReplayPace};
use dead_letters::read::{self, Filter, LetterState};
use gate::PublisherEntry;
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

#[derive(Args)]
pub struct LettersArguments {
    /// Dead letters
    #[arg(long, default_value_t = 100_000)]
    letters: usize,
    /// Accounts they are spread over
    #[arg(long, default_value_t = 10_000)]
    accounts: usize,
}

#[derive(Serialize)]
struct LettersReport {
    letters: usize,
    recorded_per_second: f64,
    answers: Vec<Answer>,
    replayed_per_second: f64,
    /// The same kind of facts, one a message, that nobody gave up on.
    at_first_hand_per_second: f64,
    memory_mib: u64,
}

/// Letters of the one replay that have their outcome, counted by what is left: who measures must not read every letter each time.
const SETTLED: &str = "
    select total - (select count(*) from replay_letters l where l.replay = r.replay and l.state = 'waiting')
                 - (select count(*) from replay_letters l where l.replay = r.replay and l.state = 'published') from replays r";

/// How long an operator waits.
#[derive(Serialize)]
struct Answer {
    question: &'static str,
    milliseconds: f64,
}

pub async fn run(session: Session, arguments: LettersArguments) -> Result<ExitCode> {
    let mut config = load::config(&session.config);
    // So that the gate refuses what anybody publishes.
    let facts = vec!["fact.usage".to_owned()];
    config.publishers = vec![PublisherEntry { user: "nobody".to_owned(), facts, sources: None }];
    let scratch = Scratch::make("bench", config).await?;
    let bench = Session::new(scratch.config.clone(), session.json)?;
    let report = measure(&bench, &arguments).await;
    scratch.remove(&bench).await?;
    let report = report?;
    match session.json {
        true => say_json(&report)?,
        false => say(&text(&report)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(session: &Session, arguments: &LettersArguments) -> Result<LettersReport> {
    let letters = arguments.letters;
    let mut load = Load::new(arguments.accounts, Mix::usage_alone(), 1);
    let fleet = start(session).await?;
    progress(session, "recording dead letters");
    let started = Instant::now();
    publish(session, load.draw(session, letters)?).await?;
    wait_for(session, "select count(*) from dead_letters", letters).await?;
    let recorded_per_second = rate(letters, started);
    progress(session, "asking for them");
    let answers = answers(session).await?;
    fleet.stop().await?;

    let mut mended = session.config.clone();
    mended.publishers = Vec::new();
    let mended = Session::new(mended, session.json)?;
    let fleet = start(&mended).await?;
    progress(session, "replaying all of them");
    let started = Instant::now();
    let order = ActRequest {
        by: "bench".to_owned(),
        reason: None,
        filter: Filter::default(),
        expected: Some(letters as i64),
        max: None,
    };
    acts::start_replay(&mended.pool, &order, ReplayPace::default(), OffsetDateTime::now_utc()).await?;
    wait_for(&mended, SETTLED, letters).await?;
    let replayed_per_second = rate(letters, started);
    progress(session, "the same at first hand");
    let started = Instant::now();
    publish(&mended, load.draw(&mended, letters)?).await?;
    wait_for(&mended, "select count(*) from outcomes where reader = 'ledger'", 2 * letters).await?;
    let at_first_hand_per_second = rate(letters, started);
    let memory_mib = fleet.memory().bursar;
    fleet.stop().await?;
    Ok(LettersReport {
        letters,
        recorded_per_second,
        answers,
        replayed_per_second,
        at_first_hand_per_second,
        memory_mib,
    })
}

async fn start(session: &Session) -> Result<FleetProcess> {
    FleetProcess::start_workers(session, "gate,ledger,dead-letters").await
}

async fn publish(session: &Session, messages: Vec<Message>) -> Result<()> {
    let broker = session.broker("bench load");
    load::publish(&broker, messages).await?;
    broker.close().await;
    Ok(())
}

async fn wait_for(session: &Session, statement: &'static str, count: usize) -> Result<()> {
    let mut before = 0;
    let mut moved = Instant::now();
    loop {
        let now: i64 = sqlx::query_scalar(statement).fetch_one(&session.pool).await?;
        if now >= count as i64 {
            return Ok(());
        }
        if now > before {
            (before, moved) = (now, Instant::now());
        }
        if moved.elapsed() > Duration::from_secs(60) {
            bail!("expected {count} from `{statement}`, it has been {now} for a minute");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn rate(count: usize, started: Instant) -> f64 {
    round(count as f64 / started.elapsed().as_secs_f64())
}

async fn answers(session: &Session) -> Result<Vec<Answer>> {
    sqlx::query("analyze").execute(&session.pool).await?;
    let pool = &session.pool;
    let mut answers = Vec::new();
    let mut timed = |question, started: Instant| {
        answers.push(Answer { question, milliseconds: round(started.elapsed().as_secs_f64() * 1000.0) });
    };
    let started = Instant::now();
    read::groups(pool, &Filter::default(), 50).await?;
    timed("groups", started);
    let started = Instant::now();
    let first = read::letters(pool, &Filter::default(), 50).await?;
    timed("list", started);
    let Some(letter) = first.first() else { bail!("expected letters, found none") };
    let of_account = Filter { account: letter.account.clone(), ..Filter::default() };
    let started = Instant::now();
    read::letters(pool, &of_account, 50).await?;
    timed("list --account", started);
    let of_text = Filter { text: Some("no such text".to_owned()), ..Filter::default() };
    let started = Instant::now();
    read::letters(pool, &of_text, 50).await?;
    timed("list --text", started);
    let started = Instant::now();
    read::count(pool, &Filter { states: vec![LetterState::Open], ..Filter::default() }).await?;
    timed("count", started);
    let started = Instant::now();
    read::letter(pool, letter.letter).await?;
    timed("show", started);
    let started = Instant::now();
    let mut connection = pool.acquire().await.doing("taking a connection")?;
    let stored = read::stored(&mut connection, &Filter::default(), 100).await?;
    let messages: Vec<_> = stored
        .into_iter()
        .map(|stored| crate::plan::Replayed {
            label: stored.letter.to_string(),
            queue: queue::GATE_INBOUND.to_owned(),
            message: stored.message,
        })
        .collect();
    crate::plan::plan(session, &messages).await?;
    timed("plan of 100", started);
    Ok(answers)
}

fn text(report: &LettersReport) -> String {
    let mut table = Table::new(&[Column::Text("question"), Column::Decimal("ms")]);
    for answer in &report.answers {
        table.row(vec![answer.question.to_owned(), answer.milliseconds.to_string()]);
    }
    format!(
        "{} dead letters\n  recorded       {:>8.0}/s\n  replayed       {:>8.0}/s\n  at first hand  {:>8.0}/s\n  memory, greatest: {} MiB\n{table}",
        report.letters,
        report.recorded_per_second,
        report.replayed_per_second,
        report.at_first_hand_per_second,
        report.memory_mib
    )
}
