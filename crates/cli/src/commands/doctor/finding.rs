//! What `doctor` finds.

use serde::Serialize;

#[derive(Debug, Serialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
pub struct Finding {
    pub what: &'static str,
    pub state: Mark,
    pub says: String,
}

pub fn finding(what: &'static str, state: Mark, says: impl Into<String>) -> Finding {
    Finding { what, state, says: says.into() }
}
