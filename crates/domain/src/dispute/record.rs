//! Everything that was said of a case, and how it reads.

use super::state::{CaseState, StepKind, begins, step};
use crate::envelope::Cause;
use crate::fact::{self, DisputeStatus, is_false};
use crate::ids::PaymentId;
use crate::money::Money;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// What one fact said of a case. The words of people stay in the fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Of the fact; its id is the rest of the key.
    pub source: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub says: DisputeStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub began_at: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub evidence_due_by: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_early_warning: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_refundable: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Money>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_silence: bool,
    /// The ids of the purchase that the fact named.
    pub payments: BTreeSet<PaymentId>,
}

/// Everything that was said of a case, by the cause that said it. Adding to it is commutative and idempotent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CaseRecord {
    /// By the fact's source and id.
    pub observations: BTreeMap<String, Observation>,
}

/// A step of a case, and who said what led to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseStep {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The fact's source and id.
    pub cause: String,
    pub says: DisputeStatus,
    pub step: StepKind,
    /// How the case stands after it.
    pub state: CaseState,
}

/// How a case reads: a function of its record alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub state: CaseState,
    /// How often it was opened anew after it had ended.
    pub reopened: u32,
    /// Names the part of its life that stands, from one beginning to the next: the processor's object that began it, and how often
    /// it was opened anew since. Late news of an earlier object does not change it. Empty for the first part of a case that is
    /// an object itself.
    pub epoch: String,
    /// The ids of the purchase, by which its payment is found.
    pub payments: BTreeSet<PaymentId>,
    /// The newest amount that was named.
    pub amount: Option<Money>,
    /// Of the round that stands; none where no answer is possible or asked for.
    pub evidence_due_by: Option<OffsetDateTime>,
    pub is_early_warning: bool,
    pub is_refundable: Option<bool>,
    pub network_reason: Option<String>,
    pub fee: Option<Money>,
    /// The processor's object of the round that stands.
    pub round: Option<String>,
    pub opened_at: OffsetDateTime,
    /// When a processor or an operator last said something: silence is counted from here.
    pub heard_at: OffsetDateTime,
    /// In the order in which they hold.
    pub steps: Vec<CaseStep>,
}

impl CaseRecord {
    /// Takes over what a fact says. Whether it was new.
    pub fn note(&mut self, cause: &Cause, fact: &fact::Dispute) -> bool {
        let observation = Observation {
            source: cause.source.clone(),
            at: fact.occurred_at,
            says: fact.status,
            round: fact.round.clone(),
            began_at: fact.began_at,
            amount: fact.amount,
            evidence_due_by: fact.evidence_due_by,
            is_early_warning: fact.is_early_warning,
            is_refundable: fact.is_refundable,
            network_reason: fact.network_reason.clone(),
            fee: fact.fee,
            by: fact.by.clone(),
            by_silence: fact.by_silence,
            payments: std::iter::once(&fact.payment).chain(&fact.aliases).cloned().collect(),
        };
        self.observations.insert(cause.to_string(), observation).is_none()
    }

    /// The fact that was stated last, by its time.
    pub fn last_cause(&self) -> Option<Cause> {
        let (key, seen) = self.observations.iter().max_by_key(|(key, seen)| (seen.at, *key))?;
        let id = key.strip_prefix(&seen.source)?.strip_prefix('/')?;
        Some(Cause { source: seen.source.clone(), id: id.to_owned() })
    }

    /// How the case stands by everything that was said; `None` where nothing was.
    ///
    /// Rounds come in the order in which their objects began, whenever news of them arrives: a first chargeback that is told to
    /// be reversed only after a second one came does not close the second. Within a round the order is by time, then rank, then
    /// the fact: processors stamp events milliseconds out of causal order. Silence decides only what is not decided, and only
    /// where there was silence: what is told late of that time, or said later, takes it back. An operator's word holds until the
    /// processor says another thing than it said before: it repeats itself, and that is no news.
    pub fn read(&self) -> Option<Case> {
        let ordered = self.in_order();
        let mut state: Option<CaseState> = None;
        let mut round: Option<&Option<String>> = None;
        let (mut reopened, mut reopened_in_round) = (0, 0);
        let mut steps = Vec::with_capacity(ordered.len());
        // What the processor last said in this round, and whether an operator has spoken since.
        let (mut processor_said, mut is_overruled) = (None, false);
        for (cause, seen) in &ordered {
            let is_new_round = round != Some(&seen.round);
            let is_processor = seen.by.is_none() && !seen.by_silence;
            if is_new_round {
                (processor_said, is_overruled, reopened_in_round) = (None, false, 0);
            }
            let (next, kind) = match state {
                Some(state) if seen.by_silence && (state.has_ended() || !self.was_silent(seen)) => {
                    (state, StepKind::Repeats)
                }
                Some(state) if is_processor && is_overruled && processor_said == Some(seen.says) => {
                    (state, StepKind::Repeats)
                }
                _ if round != Some(&seen.round) || seen.by.is_some() => begins(state, seen.says),
                _ => step(state, seen.says),
            };
            round = Some(&seen.round);
            reopened += u32::from(kind == StepKind::Reopens);
            // The object of a round opens it anew by beginning.
            reopened_in_round += u32::from(kind == StepKind::Reopens && !is_new_round);
            if is_processor {
                is_overruled = is_overruled && processor_said == Some(seen.says);
                processor_said = Some(seen.says);
            }
            is_overruled |= seen.by.is_some();
            state = Some(next);
            let cause = (*cause).clone();
            steps.push(CaseStep { at: seen.at, cause, says: seen.says, step: kind, state: next });
        }
        let counts = |step: &CaseStep| step.step != StepKind::Illegal;
        let counted: Vec<&Observation> =
            ordered.iter().zip(&steps).filter(|(_, step)| counts(step)).map(|((_, seen), _)| *seen).collect();
        let said = || counted.iter().rev();
        let last = said().next()?;
        let state = state?;
        let of_round = || said().filter(|seen| seen.round == last.round);
        Some(Case {
            state,
            reopened,
            epoch: epoch(last.round.as_deref(), reopened_in_round),
            payments: ordered.iter().flat_map(|(_, seen)| &seen.payments).cloned().collect(),
            amount: said().find_map(|seen| seen.amount),
            evidence_due_by: match state.needs_response() {
                true => of_round().find(|seen| seen.by.is_none()).and_then(|seen| seen.evidence_due_by),
                false => None,
            },
            is_early_warning: ordered.iter().any(|(_, seen)| seen.is_early_warning),
            is_refundable: of_round().find_map(|seen| seen.is_refundable),
            network_reason: said().find_map(|seen| seen.network_reason.clone()),
            fee: of_round().find_map(|seen| seen.fee),
            round: last.round.clone(),
            opened_at: ordered.iter().map(|(_, seen)| seen.began_at.unwrap_or(seen.at).min(seen.at)).min()?,
            heard_at: ordered
                .iter()
                .filter(|(_, seen)| !seen.by_silence)
                .map(|(_, seen)| seen.at)
                .max()
                .unwrap_or(last.at),
            steps,
        })
    }

    /// Whether nobody said anything between the beginning of what counts as silence and its end.
    fn was_silent(&self, silence: &Observation) -> bool {
        let since = silence.began_at.unwrap_or(silence.at);
        let mut others = self.observations.values().filter(|seen| !seen.by_silence);
        !others.any(|seen| since < seen.at && seen.at <= silence.at)
    }

    /// What was said in the order in which it holds.
    fn in_order(&self) -> Vec<(&String, &Observation)> {
        let mut began: BTreeMap<&Option<String>, OffsetDateTime> = BTreeMap::new();
        for seen in self.observations.values() {
            let at = seen.began_at.unwrap_or(seen.at);
            began.entry(&seen.round).and_modify(|first| *first = at.min(*first)).or_insert(at);
        }
        let mut ordered: Vec<(&String, &Observation)> = self.observations.iter().collect();
        ordered.sort_by_key(|(cause, seen)| (began[&seen.round], &seen.round, seen.at, seen.says, *cause));
        ordered
    }

    /// As it is stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self)
            .expect("a record holds only strings, numbers and times, which JSON can spell")
    }
}

fn epoch(round: Option<&str>, reopened: u32) -> String {
    let object = round.map(|round| format!("@{round}")).unwrap_or_default();
    match reopened {
        0 => object,
        reopened => format!("{object}#{}", reopened + 1),
    }
}

impl Case {
    /// How many steps were illegal.
    pub fn illegal_steps(&self) -> usize {
        self.steps.iter().filter(|step| step.step == StepKind::Illegal).count()
    }
}
