//! The states of a case, and its steps.

use crate::fact::DisputeStatus;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a case stands. Its text is a public name, and is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    Warning,
    Open,
    UnderReview,
    Won,
    Lost,
    Prevented,
    Withdrawn,
    /// Open once more after it had ended.
    Reopened,
}

impl CaseState {
    pub const ALL: [CaseState; 8] = [
        CaseState::Warning,
        CaseState::Open,
        CaseState::UnderReview,
        CaseState::Won,
        CaseState::Lost,
        CaseState::Prevented,
        CaseState::Withdrawn,
        CaseState::Reopened,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            CaseState::Warning => "warning",
            CaseState::Open => "open",
            CaseState::UnderReview => "under_review",
            CaseState::Won => "won",
            CaseState::Lost => "lost",
            CaseState::Prevented => "prevented",
            CaseState::Withdrawn => "withdrawn",
            CaseState::Reopened => "reopened",
        }
    }

    /// Nothing more is expected of it, though nothing is final but silence.
    pub fn has_ended(self) -> bool {
        matches!(self, CaseState::Won | CaseState::Lost | CaseState::Prevented | CaseState::Withdrawn)
    }

    /// Somebody waits for an answer.
    pub fn needs_response(self) -> bool {
        matches!(self, CaseState::Warning | CaseState::Open | CaseState::Reopened)
    }
}

impl fmt::Display for CaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CaseState {
    type Err = String;

    /// Fails with what was expected where the text names no state.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            format!("expected one of {}, got {text:?}", Self::ALL.map(CaseState::as_str).join(", "))
        })
    }
}

/// What a step is. Its text is a public name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The first that is known of the case.
    Opens,
    /// It says what was known.
    Repeats,
    Moves,
    /// Open again after it had ended.
    Reopens,
    /// From lost to won, or from won to lost.
    Overturns,
    /// No processor's object goes this way. The state stays; what was said is kept as evidence.
    Illegal,
}

/// One step of a case: from how it stands (`None`: it is not known yet) and what the processor's object says now to how it
/// stands then. The name of the event plays no part: funds are given back on lost cases, too, and a case may be lost when it is
/// first heard of.
///
/// A case that was filed is no warning any more, and one that ended does not become a warning again, nor prevented, nor
/// withdrawn: who says so speaks late. Everything else is taken at its word
/// (<https://docs.stripe.com/disputes/how-disputes-work>): an inquiry may be lost for want of an answer, a lost case may be won
/// late, and a won one may come back.
pub fn step(state: Option<CaseState>, says: DisputeStatus) -> (CaseState, StepKind) {
    use CaseState as S;
    use DisputeStatus as D;
    let said = said(says);
    let Some(state) = state else { return (said, StepKind::Opens) };
    match (state, says) {
        _ if state == said => (state, StepKind::Repeats),
        (S::Reopened, D::Open) => (state, StepKind::Repeats),
        // It speaks late.
        (S::Open | S::Reopened | S::UnderReview, D::Warning) => (state, StepKind::Illegal),
        (S::Won | S::Lost | S::Prevented | S::Withdrawn, D::Warning | D::Prevented | D::Withdrawn) => {
            (state, StepKind::Illegal)
        }
        (S::Won | S::Lost | S::Prevented | S::Withdrawn, D::Open) => (S::Reopened, StepKind::Reopens),
        (S::Won | S::Lost | S::Prevented | S::Withdrawn, D::UnderReview) => {
            (S::UnderReview, StepKind::Reopens)
        }
        (S::Won | S::Lost, D::Won | D::Lost) => (said, StepKind::Overturns),
        (S::Prevented | S::Withdrawn, D::Won | D::Lost) => (said, StepKind::Moves),
        (S::Warning | S::Open | S::UnderReview | S::Reopened, _) => (said, StepKind::Moves),
    }
}

/// The same where a new round of the case begins, or an operator speaks: whatever is said holds.
pub(super) fn begins(state: Option<CaseState>, says: DisputeStatus) -> (CaseState, StepKind) {
    let said = said(says);
    match state {
        None => (said, StepKind::Opens),
        Some(state) if state == said => (state, StepKind::Repeats),
        Some(CaseState::Reopened) if said == CaseState::Open => (CaseState::Reopened, StepKind::Repeats),
        Some(state) if state.has_ended() && !said.has_ended() => match said {
            CaseState::Open => (CaseState::Reopened, StepKind::Reopens),
            other => (other, StepKind::Reopens),
        },
        Some(CaseState::Won | CaseState::Lost) if matches!(said, CaseState::Won | CaseState::Lost) => {
            (said, StepKind::Overturns)
        }
        Some(_) => (said, StepKind::Moves),
    }
}

fn said(status: DisputeStatus) -> CaseState {
    match status {
        DisputeStatus::Warning => CaseState::Warning,
        DisputeStatus::Open => CaseState::Open,
        DisputeStatus::UnderReview => CaseState::UnderReview,
        DisputeStatus::Prevented => CaseState::Prevented,
        DisputeStatus::Withdrawn => CaseState::Withdrawn,
        DisputeStatus::Lost => CaseState::Lost,
        DisputeStatus::Won => CaseState::Won,
    }
}
