//! What an account may not do, and why.

use super::policy::{Policy, RiskRule, Stage};
use super::state::CaseState;
use crate::fact::RestrictionKind;
use crate::ids::CaseId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use time::OffsetDateTime;

/// Who or what restricts an account. Its text is a public name, and is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    Case,
    RiskRule,
    Operator,
}

impl CauseKind {
    pub fn as_str(self) -> &'static str {
        match self {
            CauseKind::Case => "case",
            CauseKind::RiskRule => "risk_rule",
            CauseKind::Operator => "operator",
        }
    }
}

impl fmt::Display for CauseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CauseKind {
    type Err = String;

    /// Fails with what was expected where the text names none.
    fn from_str(text: &str) -> Result<Self, String> {
        [CauseKind::Case, CauseKind::RiskRule, CauseKind::Operator]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("expected case, risk_rule or operator, got {text:?}"))
    }
}

/// One reason to restrict an account in one way. What was lifted by an operator stays lifted under the same cause.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RestrictionCause {
    pub kind: RestrictionKind,
    pub cause_kind: CauseKind,
    /// The case's id; the operator's name; the name of the rule.
    pub cause: String,
    /// Which stage of the case, and of which part of its life (`formal`, `formal#2`, `formal@adj_1`); the case that fulfilled the rule; the operator's act.
    pub stage: String,
}

/// What restricts an account, as gateways and subscribers are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Restricted {
    pub kind: RestrictionKind,
    pub cause: CauseKind,
    /// The case, where it is one's.
    pub case: Option<String>,
    /// The operator, where it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// Everything that an account may and may not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Standing {
    pub access: Allowed,
    pub checkout: Allowed,
    pub balance: Allowed,
    /// Ordered by kind, then since when; the first [`Standing::LISTED_MAX`].
    pub restrictions: Vec<Restricted>,
    /// How many are not listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Allowed {
    #[default]
    Allowed,
    Restricted,
}

impl Standing {
    /// An event stays small, however many cases an account has.
    pub const LISTED_MAX: usize = 100;

    /// An account is free of a kind only when the last of its causes is gone.
    pub fn of(mut restrictions: Vec<Restricted>) -> Self {
        restrictions
            .sort_by(|a, b| (a.kind, a.since, &a.case, &a.by).cmp(&(b.kind, b.since, &b.case, &b.by)));
        let of = |kind| match restrictions.iter().any(|restricted| restricted.kind == kind) {
            true => Allowed::Restricted,
            false => Allowed::Allowed,
        };
        let (access, checkout, balance) =
            (of(RestrictionKind::Access), of(RestrictionKind::Checkout), of(RestrictionKind::Balance));
        let more = restrictions.len().saturating_sub(Self::LISTED_MAX);
        restrictions.truncate(Self::LISTED_MAX);
        Self { access, checkout, balance, restrictions, more }
    }
}

impl RestrictionCause {
    /// As gateways and subscribers are told.
    pub fn told(&self, since: OffsetDateTime) -> Restricted {
        let of = |kind| (self.cause_kind == kind).then(|| self.cause.clone());
        Restricted {
            kind: self.kind,
            cause: self.cause_kind,
            case: of(CauseKind::Case),
            by: of(CauseKind::Operator),
            since,
        }
    }
}

/// What a case asks to be restricted. `epoch`: the part of its life that stands (`Case::epoch`).
pub fn asked_by_case(
    id: &CaseId,
    state: CaseState,
    epoch: &str,
    policy: &Policy,
) -> BTreeSet<RestrictionCause> {
    let stage = format!("{}{epoch}", Stage::of(state));
    let cause = |kind| RestrictionCause {
        kind,
        cause_kind: CauseKind::Case,
        cause: id.to_string(),
        stage: stage.clone(),
    };
    policy.restricts(state).into_iter().map(cause).collect()
}

/// A case as the rule of risk counts it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RiskCase {
    pub opened_at: OffsetDateTime,
    pub case: CaseId,
}

impl RiskCase {
    /// Whether a case counts: not what was prevented or taken back.
    pub fn counts(state: CaseState) -> bool {
        !matches!(state, CaseState::Prevented | CaseState::Withdrawn)
    }
}

/// The name of the rule of risk, as a cause.
const RISK_RULE: &str = "disputes";

/// What the rule of risk asks for: a cause for each case that, with those before it, fulfils the rule.
pub fn asked_by_risk(mut cases: Vec<RiskCase>, rule: &RiskRule) -> BTreeSet<RestrictionCause> {
    cases.sort();
    let fulfilling = cases.windows(rule.disputes.max(1)).filter_map(|window| {
        let (first, last) = window.first().zip(window.last())?;
        (last.opened_at - first.opened_at <= rule.within).then_some(&last.case)
    });
    let causes = fulfilling.flat_map(|case| {
        rule.restricts.iter().map(|kind| RestrictionCause {
            kind: *kind,
            cause_kind: CauseKind::RiskRule,
            cause: RISK_RULE.to_owned(),
            stage: case.to_string(),
        })
    });
    causes.collect()
}
