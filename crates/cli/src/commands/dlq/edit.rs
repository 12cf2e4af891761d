//! A dead letter that is to say something else: it is closed, and goes on as another one under a message id of its own.
//!
//! Only facts can be edited. A delivery as it came is signed, and nobody but its processor can change what it says.

use super::agreed::refused;
use super::document::{self, FieldChange};
use super::locks::{self, Lock};
use crate::commands::act::{By, reason};
use crate::commands::bulk::{Consent, agreed_where_asked};
use crate::misuse::Misuse;
use crate::output::table::Style;
use crate::output::{done, say, say_json};
use crate::session::Session;
use crate::visible::on_a_line;
use crate::workers;
use anyhow::{Context, Result, anyhow, bail};
use bus::{Incoming, queue};
use clap::{ArgGroup, Args};
use db::Doing;
use dead_letters::Subject;
use dead_letters::acts::{self, Edit};
use dead_letters::read::{self, Filter, LetterState, StoredMessage};
use domain::envelope::is_batch;
use domain::{Envelope, FactKind};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::process::ExitCode;
use time::OffsetDateTime;
use uuid::Uuid;

pub const HELP: &str = "\
Off unless `[dead_letters] edit = true` is configured. The original stays as it is, closed as `edited`; the new letter has a message id of its own and is open: plan it, then replay it. What the fact is about (identity) and what it is worth (money) are locked: `--unlock` opens one of them, with the name of a second operator who agrees. A value is JSON where it is that, else text: a number that is a text is quoted, --set 'data.credits=\"12.5\"'. The difference is kept with the letter, and in the audit without texts and addresses, which may name people.";

/// The extension of an envelope that holds the delivery as it came: proof of what was said, and of nothing else.
const RAW_BODY: &str = "rawbody";

#[derive(Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args(["set", "unset", "body"]))]
pub struct Arguments {
    letter: Uuid,
    /// Set a part of the fact: data.account=acct_42; may be given several times
    #[arg(long, value_name = "PATH=VALUE", conflicts_with = "body")]
    set: Vec<String>,
    /// Take a part out; may be given several times
    #[arg(long, value_name = "PATH", conflicts_with = "body")]
    unset: Vec<String>,
    /// The fact as a whole from this file, or from standard input (-)
    #[arg(long, value_name = "FILE")]
    body: Option<String>,
    /// Why
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    by: By,
    /// Change also what is locked
    #[arg(long, value_name = "LOCK", requires = "second")]
    unlock: Vec<Lock>,
    /// The other operator, who agrees to that
    #[arg(long, value_name = "NAME", requires = "unlock")]
    second: Option<String>,
}

impl Arguments {
    /// Who agrees to what is unlocked: somebody else.
    fn second(&self, by: &str) -> Result<Option<String>> {
        let Some(second) = self.second.as_deref().map(str::trim) else { return Ok(None) };
        if second.is_empty() || second.to_lowercase() == by.to_lowercase() {
            return Err(Misuse(format!(
                "--second: expected another operator than {by:?}, got {second:?}: two people agree to what is locked"
            ))
            .into());
        }
        Ok(Some(second.to_owned()))
    }

    /// What the letter is to say instead.
    fn applied(&self, old: &Old) -> Result<Value> {
        let Some(file) = &self.body else { return self.set_in(old) };
        let new = document::parse(&contents(file)?)
            .with_context(|| format!("--body {file}: expected one fact as a JSON document"))?;
        if !new.is_object() {
            bail!("--body {file}: expected one fact as a JSON object");
        }
        Ok(new)
    }

    fn set_in(&self, old: &Old) -> Result<Value> {
        let Old::Fact(old) = old else {
            bail!(
                "expected a body that is JSON to set a part of it, this one is none: give the whole fact by --body"
            );
        };
        let mut new = old.clone();
        for path in &self.unset {
            document::unset(&mut new, path)?;
        }
        for set in &self.set {
            let (path, value) = set.split_once('=').ok_or_else(|| {
                Misuse(format!("--set: expected <path>=<value> such as data.account=acct_42, got {set:?}"))
            })?;
            document::set(&mut new, path.trim(), document::value(value))?;
        }
        Ok(new)
    }
}

fn contents(file: &str) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    match file {
        "-" => drop(std::io::stdin().lock().read_to_end(&mut body).context("--body -")?),
        file => body = std::fs::read(file).with_context(|| format!("--body {file}"))?,
    }
    Ok(body)
}

pub async fn edit(session: &Session, arguments: &Arguments) -> Result<ExitCode> {
    if !session.config.dead_letters.edit {
        bail!(
            "expected `[dead_letters] edit = true` in the configuration, it is not: dead letters are not edited here"
        );
    }
    let by = arguments.by.name()?;
    let agreed_by = arguments.second(&by)?;
    let stored = match find(session, arguments.letter).await {
        Ok(stored) => stored,
        Err(error) => return refused(session, error),
    };
    let old = Old::read(&stored)?;
    let now = OffsetDateTime::now_utc();
    let edited = Edited::new(&old, arguments.applied(&old)?, session.config.credits.scale, now)?;
    edited.allowed(&arguments.unlock)?;

    let question = format!("{}\nHave {} go on so?", edited.text(), arguments.letter);
    if let Consent::Refused(why) = agreed_where_asked(&question) {
        done(
            session.json,
            &format!("Nothing was done: {why}."),
            &json!({ "letter": arguments.letter, "error": why }),
        )?;
        return Ok(ExitCode::from(2));
    }
    let edit = edited.act(arguments, by, agreed_by)?;
    let message = Incoming { body: edit.body.clone(), ..stored.message };
    let subject = Subject::of(&stored.queue, &message, &session.config.settings(), stored.first_failed_at);
    let new = match acts::edit(&session.pool, &edit, &subject, now).await {
        Ok(new) => new,
        Err(error) => return refused(session, error),
    };
    tell(session, &edited, &edit, new)
}

async fn find(session: &Session, letter: Uuid) -> Result<StoredMessage, acts::ActError> {
    let mut connection = session.pool.acquire().await.doing("taking a connection")?;
    let filter = Filter { states: LetterState::ALL.to_vec(), ..Filter::letter(letter) };
    let stored =
        read::stored(&mut connection, &filter, 1).await?.pop().ok_or(acts::ActError::Unknown(letter))?;
    match stored.state {
        LetterState::Open => Ok(stored),
        state => {
            Err(acts::ActError::Otherwise { letter, wanted: LetterState::Open, state: state.to_string() })
        }
    }
}

/// What a letter says now.
enum Old {
    Fact(Value),
    /// No JSON, or such as can be read in two ways.
    Unreadable(String),
}

impl Old {
    fn read(stored: &StoredMessage) -> Result<Self> {
        let (queue, letter) = (stored.queue.as_str(), stored.letter);
        if queue == queue::INGESTER {
            bail!(
                "expected a fact, {letter} is a delivery as it came: it is signed, and only its processor can say something else. Have it delivered again, or mend what it died of and replay it"
            );
        }
        if !workers::has_facts(queue) {
            bail!("expected a fact, {letter} lay in the queue {queue:?}, where there are none");
        }
        let body = &stored.message.body;
        let read = document::parse(body);
        let is_batch = is_batch(stored.message.content_type.as_deref());
        if is_batch || matches!(read, Ok(Value::Array(_))) {
            bail!(
                "expected a single fact, {letter} is a batch: have its facts stated again, each in a message of its own (`bursar dlq export {letter}` has them), then discard it"
            );
        }
        Ok(match read {
            Ok(fact @ Value::Object(_)) => Old::Fact(fact),
            Ok(_) | Err(_) => Old::Unreadable(String::from_utf8_lossy(body).into_owned()),
        })
    }

    fn raw_body(&self) -> Option<&Value> {
        match self {
            Old::Fact(fact) => fact.get(RAW_BODY),
            Old::Unreadable(_) => None,
        }
    }

    fn without_raw_body(&self) -> Value {
        match self {
            Old::Fact(fact) => without_raw_body(fact.clone()),
            Old::Unreadable(text) => text.as_str().into(),
        }
    }
}

fn without_raw_body(mut fact: Value) -> Value {
    if let Some(fact) = fact.as_object_mut() {
        fact.remove(RAW_BODY);
    }
    fact
}

/// What it is to say instead: a fact that can be read and is within its limits.
struct Edited {
    fact: Value,
    kind: FactKind,
    diff: Vec<FieldChange>,
    /// What was signed is not what it says any more.
    loses_raw_body: bool,
}

impl Edited {
    fn new(old: &Old, new: Value, credits_scale: u32, now: OffsetDateTime) -> Result<Self> {
        if new.get(RAW_BODY).is_some_and(|raw| Some(raw) != old.raw_body()) {
            bail!("{RAW_BODY}: expected the delivery as it came, which is never edited, got another one");
        }
        let mut fact = without_raw_body(new);
        let kind = valid(&fact, credits_scale, now)?;
        let diff = document::diff(&document::parts(&old.without_raw_body()), &document::parts(&fact));
        if diff.is_empty() {
            bail!("expected something to change, the fact says all of that already");
        }
        let is_another = diff.iter().any(|change| locks::lock(kind, &change.path).is_some());
        if let (Some(raw), false) = (old.raw_body(), is_another) {
            fact[RAW_BODY] = raw.clone();
        }
        let loses_raw_body = is_another && old.raw_body().is_some();
        Ok(Self { fact, kind, diff, loses_raw_body })
    }

    /// The locks that a change needs open. Another type gives everything another meaning, and so does another body.
    fn locks(&self, change: &FieldChange) -> BTreeSet<Lock> {
        match change.path.as_str() {
            "" | "type" => BTreeSet::from([Lock::Identity, Lock::Money]),
            path => locks::lock(self.kind, path).into_iter().collect(),
        }
    }

    fn allowed(&self, unlocked: &[Lock]) -> Result<()> {
        let mut locked = Vec::new();
        let mut needed = BTreeSet::new();
        for change in &self.diff {
            let locks: Vec<Lock> =
                self.locks(change).into_iter().filter(|lock| !unlocked.contains(lock)).collect();
            if !locks.is_empty() {
                let names: Vec<&str> = locks.iter().map(|lock| lock.as_str()).collect();
                let path = if change.path.is_empty() { "the whole body" } else { &change.path };
                locked.push(format!("{path} ({})", names.join(" and ")));
            }
            needed.extend(locks);
        }
        if needed.is_empty() {
            return Ok(());
        }
        needed.extend(unlocked);
        let unlock: Vec<String> = needed.iter().map(|lock| format!("--unlock {lock}")).collect();
        bail!(
            "expected changes to what is free, these are locked: {}. With a second operator who agrees: {} --second <name>",
            locked.join(", "),
            unlock.join(" ")
        )
    }

    fn act(&self, arguments: &Arguments, by: String, agreed_by: Option<String>) -> Result<Edit> {
        let audited: Vec<FieldChange> = self.diff.iter().map(|change| self.without_persons(change)).collect();
        Ok(Edit {
            letter: arguments.letter,
            by,
            agreed_by,
            reason: arguments.reason.clone(),
            body: serde_json::to_vec(&self.fact)?,
            diff: serde_json::to_value(&self.diff)?,
            audited: serde_json::to_value(audited)?,
        })
    }

    /// A change as it may be kept for good.
    fn without_persons(&self, change: &FieldChange) -> FieldChange {
        if !locks::may_name_a_person(self.kind, &change.path) {
            return change.clone();
        }
        let hidden = |value: &Value| match value {
            Value::Null => Value::Null,
            value => format!("({} bytes)", value.to_string().len()).into(),
        };
        FieldChange { path: change.path.clone(), from: hidden(&change.from), to: hidden(&change.to) }
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> =
            self.diff.iter().map(|change| on_a_line(&format!("  {change}"))).collect();
        if self.loses_raw_body {
            lines.push("  The delivery as it came is left out: it proves something else.".to_owned());
        }
        lines.join("\n")
    }
}

/// Whether the gate could read it; of which kind it is.
fn valid(fact: &Value, credits_scale: u32, now: OffsetDateTime) -> Result<FactKind> {
    let envelope = Envelope::parse(&fact.to_string(), now)?;
    envelope.fact.check(credits_scale).map_err(|why| anyhow!(why))?;
    Ok(envelope.fact.kind())
}

fn tell(session: &Session, edited: &Edited, edit: &Edit, new: Uuid) -> Result<ExitCode> {
    let next = format!("bursar dlq plan {new}");
    if session.json {
        say_json(&json!({
            "letter": edit.letter,
            "new": new,
            "by": edit.by,
            "agreed_by": edit.agreed_by,
            "diff": edit.diff,
            "raw_body_left_out": edited.loses_raw_body,
            "next": next,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let heading = Style::Bold.paint(&format!("{} goes on as {new}", edit.letter));
    say(&format!("{heading}\n{}\nNext: `{next}`, then `bursar dlq replay {new}`.", edited.text()));
    Ok(ExitCode::SUCCESS)
}

/// The difference that is kept with a letter, as people read it.
pub fn changes(diff: Option<&Value>) -> Vec<String> {
    let Some(diff) = diff else { return Vec::new() };
    match serde_json::from_value::<Vec<FieldChange>>(diff.clone()) {
        Ok(changes) => changes.iter().map(FieldChange::to_string).collect(),
        Err(_) => vec![diff.to_string()],
    }
}
