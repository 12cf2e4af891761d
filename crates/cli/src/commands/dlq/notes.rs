//! Notes about a dead letter, or about all of a kind.

use crate::commands::act::{By, reason};
use crate::output::done;
use crate::session::Session;
use anyhow::{Result, anyhow};
use dead_letters::acts;
use serde_json::json;
use std::process::ExitCode;
use time::OffsetDateTime;

pub fn note_text(text: &str) -> Result<String, String> {
    reason(text).map_err(|_| "expected what is to be known, got nothing".to_owned())
}

pub async fn write(session: &Session, about: &str, text: &str, by: &By) -> Result<ExitCode> {
    let now = OffsetDateTime::now_utc();
    let written = acts::note(&session.pool, &subject(about), &by.name()?, text, now).await;
    written.map_err(|error| match error {
        acts::ActError::Nothing { .. } => {
            anyhow!("expected a letter's id or a kind's fingerprint, got {about}: see `bursar dlq groups`")
        }
        error => error.into(),
    })?;
    done(session.json, "Noted.", &json!({ "about": about, "note": text }))
}

/// A letter by its id, else a kind by its fingerprint.
pub fn subject(about: &str) -> acts::NoteTarget {
    about.parse().map_or_else(|_| acts::NoteTarget::Fingerprint(about.to_owned()), acts::NoteTarget::Letter)
}
