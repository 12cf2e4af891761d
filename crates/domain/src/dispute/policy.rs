//! What follows from a case for the account, as the deployment decides it.

use super::state::CaseState;
use crate::fact::RestrictionKind;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// What a state means for people: the part of a case's life in which one set of restrictions holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Warning,
    /// Filed, and not decided.
    Formal,
    Won,
    Lost,
    /// Prevented or withdrawn.
    Ended,
}

impl Stage {
    pub fn of(state: CaseState) -> Self {
        match state {
            CaseState::Warning => Stage::Warning,
            CaseState::Open | CaseState::UnderReview | CaseState::Reopened => Stage::Formal,
            CaseState::Won => Stage::Won,
            CaseState::Lost => Stage::Lost,
            CaseState::Prevented | CaseState::Withdrawn => Stage::Ended,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Warning => "warning",
            Stage::Formal => "formal",
            Stage::Won => "won",
            Stage::Lost => "lost",
            Stage::Ended => "ended",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The deployment's policy on disputes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub warning: BTreeSet<RestrictionKind>,
    pub open: BTreeSet<RestrictionKind>,
    pub under_review: BTreeSet<RestrictionKind>,
    /// What stays restricted after a case was lost.
    pub lost: BTreeSet<RestrictionKind>,
    pub risk: Option<RiskRule>,
}

/// Many disputes of one account within a time restrict it, until an operator lifts that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskRule {
    pub disputes: usize,
    pub within: Duration,
    pub restricts: BTreeSet<RestrictionKind>,
}

impl Policy {
    /// What a case in this state restricts.
    pub fn restricts(&self, state: CaseState) -> BTreeSet<RestrictionKind> {
        match state {
            CaseState::Warning => self.warning.clone(),
            CaseState::Open | CaseState::Reopened => self.open.clone(),
            CaseState::UnderReview => self.under_review.clone(),
            CaseState::Lost => self.lost.clone(),
            CaseState::Won | CaseState::Prevented | CaseState::Withdrawn => BTreeSet::new(),
        }
    }
}

impl Default for Policy {
    /// A warning limits checkout; a dispute that was filed also suspends access and freezes the balance until it is decided;
    /// three within 90 days limit checkout.
    fn default() -> Self {
        let all = BTreeSet::from(RestrictionKind::ALL);
        let checkout = BTreeSet::from([RestrictionKind::Checkout]);
        Self {
            warning: checkout.clone(),
            open: all.clone(),
            under_review: all,
            lost: BTreeSet::new(),
            risk: Some(RiskRule {
                disputes: 3,
                within: Duration::from_secs(90 * 86_400),
                restricts: checkout,
            }),
        }
    }
}
