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
    /// Which stage of the case, and of which round (`formal`, `formal#2`); the case that fulfilled the rule; the operator's act.
    pub stage: String,
}

/// What restricts an account, as gateways and subscribers are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// Ordered by kind, then since when.
    pub restrictions: Vec<Restricted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Allowed {
    #[default]
    Allowed,
    Restricted,
}

impl Standing {
    /// An account is free of a kind only when the last of its causes is gone.
    pub fn of(mut restrictions: Vec<Restricted>) -> Self {
        restrictions
            .sort_by(|a, b| (a.kind, a.since, &a.case, &a.by).cmp(&(b.kind, b.since, &b.case, &b.by)));
        let of = |kind| match restrictions.iter().any(|restricted| restricted.kind == kind) {
            true => Allowed::Restricted,
            false => Allowed::Allowed,
        };
        Self {
            access: of(RestrictionKind::Access),
            checkout: of(RestrictionKind::Checkout),
            balance: of(RestrictionKind::Balance),
            restrictions,
        }
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

/// What a case asks to be restricted. `reopened`: how often it was opened anew.
pub fn asked_by_case(
    id: &CaseId,
    state: CaseState,
    reopened: u32,
    policy: &Policy,
) -> BTreeSet<RestrictionCause> {
    let stage = Stage::of(state);
    let stage = match reopened {
        0 => stage.to_string(),
        reopened => format!("{stage}#{}", reopened + 1),
    };
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
    /// Whether it counts: not what was prevented or taken back, and not what another case took over.
    pub fn counts(state: CaseState, is_taken_over: bool) -> bool {
        !is_taken_over && !matches!(state, CaseState::Prevented | CaseState::Withdrawn)
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
