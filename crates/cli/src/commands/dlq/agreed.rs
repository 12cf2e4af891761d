//! How many dead letters an act is about: as many as somebody has seen, in the state that they were seen in.

use super::replays;
use super::which::{known, named};
use crate::commands::bulk::{Agreement, Consent};
use crate::output::{say, say_json};
use crate::session::Session;
use anyhow::{Result, anyhow};
use dead_letters::acts;
use dead_letters::read::{self, Filter, LetterState};
use serde_json::json;
use std::process::ExitCode;
use uuid::Uuid;

/// Whether each of the letters that were named is in a state; who comes second is told where they are instead.
pub async fn otherwise(
    session: &Session,
    letters: &[Uuid],
    wanted: LetterState,
) -> Result<Option<acts::ActError>> {
    known(session, letters).await?;
    let other = named(session, letters).await?.into_iter().find(|line| line.state != wanted.as_str());
    Ok(other.map(|line| acts::ActError::Otherwise { letter: line.letter, wanted, state: line.state }))
}

/// How many letters an act is about; it must be what somebody has seen. Nothing where it is not.
pub async fn agreed(
    session: &Session,
    filter: &Filter,
    agreement: &Agreement,
    question: &str,
) -> Result<Option<i64>> {
    let wanted = filter.states.first().copied().unwrap_or(LetterState::Open);
    if let Some(error) = otherwise(session, &filter.letters, wanted).await? {
        refused(session, error)?;
        return Ok(None);
    }
    let found = read::count(&session.pool, filter).await?;
    let of = agreement.of(usize::try_from(found).map_err(|_| anyhow!("{found} letters"))?);
    let question = format!("Found {found}. {}", question.replace("{}", &of.to_string()));
    let why = match agreement.consent(found as usize, &question) {
        Consent::Given => return Ok(Some(of as i64)),
        Consent::Refused(why) => why,
    };
    let elsewhere = match found {
        0 => elsewhere(session, filter, wanted).await?,
        _ => None,
    };
    match session.json {
        true => say_json(&json!({ "found": found, "done": 0, "error": why, "elsewhere": elsewhere }))?,
        false => {
            let elsewhere = elsewhere.map(|text| format!(" {text}.")).unwrap_or_default();
            say(&format!("Nothing was done: {why}.{elsewhere}"));
        }
    }
    Ok(None)
}

/// Where those are that fit a filter and are not in the state that is wanted: somebody else was first.
async fn elsewhere(session: &Session, filter: &Filter, wanted: LetterState) -> Result<Option<String>> {
    let mut counts = Vec::new();
    for state in LetterState::ALL.into_iter().filter(|state| *state != wanted) {
        let filter = Filter { states: vec![state], ..filter.clone() };
        let count = read::count(&session.pool, &filter).await?;
        let by = match (count, state) {
            (0, _) => continue,
            (_, LetterState::Replaying) => replayed_by(session, &filter).await?,
            _ => None,
        };
        counts.push(format!("{count} {state}{}", by.unwrap_or_default()));
    }
    let all = counts.join(", ");
    Ok(Some(all).filter(|all| !all.is_empty()).map(|all| format!("Of those that fit are {all}")))
}

async fn replayed_by(session: &Session, filter: &Filter) -> Result<Option<String>> {
    let Some(line) = read::letters(&session.pool, filter, 1).await?.pop() else { return Ok(None) };
    let Some(view) = read::letter(&session.pool, line.letter).await? else { return Ok(None) };
    let Some(last) = view.replays.last() else { return Ok(None) };
    let replay = replays::one(session, last.replay).await?;
    Ok(Some(format!(" (by {}, in replay {})", replay.by, replay.replay)))
}

/// An act that found other letters than it was told to find: it did nothing, exit status 2.
pub fn refused(session: &Session, error: acts::ActError) -> Result<ExitCode> {
    match error {
        acts::ActError::Count { .. } | acts::ActError::Nothing { .. } | acts::ActError::Otherwise { .. } => {
            match session.json {
                true => say_json(&json!({ "done": 0, "error": error.to_string() }))?,
                false => say(&format!("Nothing was done: {error}.")),
            }
            Ok(ExitCode::from(2))
        }
        acts::ActError::Database(_)
        | acts::ActError::Unknown(_)
        | acts::ActError::Erased(_)
        | acts::ActError::Nobody
        | acts::ActError::Replay { .. } => Err(error.into()),
    }
}
