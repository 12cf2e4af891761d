//! Disputes: what a case's facts say together, and what follows for the account.
//!
//! As with payments, nothing is added because an event came: a case is a function of the *set* of facts about it, the
//! restrictions that it asks for are a function of the case and the policy, and what is written is the difference. So any
//! order and repetition of the same facts ends alike.
//!
//! | | |
//! | --- | --- |
//! | [`step`] | one step of a case: from its state and what the processor's object says to the next state |
//! | [`CaseRecord`] | everything that was said of a case; [`CaseRecord::read`] walks it through its steps |
//! | [`Policy`] | which stage restricts what, when a case counts as decided by silence, the rule of risk |
//! | [`Standing`] | what an account may not do, and why |
//! | [`overlap`] | refunds and disputes on one payment that give back more than was paid |

mod overlap;
mod policy;
mod record;
mod standing;
mod state;

pub use overlap::{Overlap, overlap};
pub use policy::{Policy, RiskRule, Stage};
pub use record::{Case, CaseRecord, CaseStep, Observation};
pub use standing::{
    CauseKind, Restricted, RestrictionCause, RiskCase, Standing, asked_by_case, asked_by_risk,
};
pub use state::{CaseState, StepKind, step};

#[cfg(test)]
mod tests;
