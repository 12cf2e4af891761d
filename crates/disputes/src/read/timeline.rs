//! What happened to a case, in the order in which Bursar heard of it or did it: what the processor said, what followed for the
//! account and for its credits, what operators did.

use super::restrictions::RestrictionLine;
use domain::dispute::{Case, CaseRecord, CaseState, StepKind};
use domain::fact::{DisputeStatus, RestrictionKind};
use domain::{CaseId, Credits, Money};
use jobs::TransactionView;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// What of the journal is told; the sources of credits and of debt only mirror these.
const BOOKS: [&str; 6] = ["available", "held", "consumed", "reversed", "expired", "debt"];

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// When Bursar settled it or did it; of what is not settled, when it was said.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    #[serde(flatten)]
    pub what: Happening,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Happening {
    /// Somebody said how the case stands.
    Said(Box<Said>),
    /// The case put restrictions on, or they were lifted, apart from anything that was said of it.
    Restrictions(Unattached),
    /// The journal moved credits of the payment, apart from anything that was said of the case.
    Posted(Posted),
    Note(Noted),
}

/// A step of the case, and what followed from it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Said {
    /// When the processor's object said so, by its own clock.
    #[serde(with = "time::serde::rfc3339")]
    pub said_at: OffsetDateTime,
    /// The fact's source and id.
    pub cause: String,
    pub says: DisputeStatus,
    pub step: StepKind,
    /// How the case stands after it.
    pub state: CaseState,
    /// The processor's code, or why an operator says so.
    pub reason: Option<String>,
    /// The operator, where one says so.
    pub by: Option<String>,
    pub by_silence: bool,
    pub amount: Option<Money>,
    /// The processor's object, where several make one case.
    pub round: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub evidence_due_by: Option<OffsetDateTime>,
    /// What the case restricts since then and did not before.
    pub restricted: Vec<RestrictionKind>,
    /// What it restricts no more.
    pub lifted: Vec<RestrictionKind>,
    /// What the same delivery did to credits.
    pub posted: Vec<Posted>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unattached {
    pub restricted: Vec<RestrictionKind>,
    pub lifted: Vec<RestrictionKind>,
    /// The operator who lifted them; none where the payment became known, or went to another account.
    pub by: Option<String>,
    pub reason: Option<String>,
}

/// A transaction of the journal: by how much it changed each book.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Posted {
    pub account: String,
    pub number: i64,
    pub kind: String,
    pub cause: String,
    pub changed: BTreeMap<&'static str, Credits>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Noted {
    pub by: String,
    pub text: String,
}

/// What the inbox and its readers know of a fact about the case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub admitted_at: OffsetDateTime,
    /// By the worker of disputes.
    pub settled_at: Option<OffsetDateTime>,
    pub reason: Option<String>,
}

impl Said {
    /// The source and id of what the processor delivered: its first fact moves the money, further ones have what they are about
    /// behind the id.
    pub fn delivery(&self, case: &CaseId) -> &str {
        self.cause.strip_suffix(&format!(":dispute:{}", case.id())).unwrap_or(&self.cause)
    }
}

impl From<&TransactionView> for Posted {
    fn from(transaction: &TransactionView) -> Self {
        let changes = BOOKS.map(|book| (book, transaction.change(book)));
        Self {
            account: transaction.account.clone(),
            number: transaction.number,
            kind: transaction.kind.clone(),
            cause: transaction.cause.clone(),
            changed: changes.into_iter().filter(|(_, credits)| !credits.is_zero()).collect(),
        }
    }
}

/// The steps in the order in which they hold, with what they put on and lifted; restrictions that changed apart from them, and
/// notes, between them.
pub(super) fn timeline(
    record: &CaseRecord,
    case: &Case,
    heard: &BTreeMap<String, Heard>,
    restrictions: &[RestrictionLine],
    notes: Vec<Moment>,
) -> Vec<Moment> {
    let mut moments = steps(record, case, heard, restrictions);
    moments.extend(unattached(heard, restrictions));
    moments.extend(notes);
    // Stable: steps that were settled together stay in the order in which they hold.
    moments.sort_by_key(|moment| moment.at);
    moments
}

fn steps(
    record: &CaseRecord,
    case: &Case,
    heard: &BTreeMap<String, Heard>,
    restrictions: &[RestrictionLine],
) -> Vec<Moment> {
    let settled_at = |cause: &str| heard.get(cause).and_then(|heard| heard.settled_at);
    let (mut moments, mut latest) = (Vec::new(), OffsetDateTime::UNIX_EPOCH);
    for (place, step) in case.steps.iter().enumerate() {
        let Some(seen) = record.observations.get(&step.cause) else { continue };
        let of_fact = heard.get(&step.cause);
        let settled = settled_at(&step.cause);
        // What was settled together changed restrictions together: the last of it is named.
        let is_last = !case.steps[place + 1..].iter().any(|later| settled_at(&later.cause) == settled);
        let (restricted, lifted) = match settled.filter(|_| is_last) {
            Some(at) => changed(restrictions, at),
            None => (Vec::new(), Vec::new()),
        };
        // A step that was heard late stands where it holds.
        latest = latest.max(settled.or(of_fact.map(|fact| fact.admitted_at)).unwrap_or(step.at));
        let said = Said {
            said_at: step.at,
            cause: step.cause.clone(),
            says: step.says,
            step: step.step,
            state: step.state,
            reason: of_fact.and_then(|fact| fact.reason.clone()),
            by: seen.by.clone(),
            by_silence: seen.by_silence,
            amount: seen.amount,
            round: seen.round.clone(),
            evidence_due_by: seen.evidence_due_by,
            restricted,
            lifted,
            posted: Vec::new(),
        };
        moments.push(Moment { at: latest, what: Happening::Said(Box::new(said)) });
    }
    moments
}

/// What the case restricted from a moment on and not before, and the other way round. What goes over from one stage to the next
/// is neither.
fn changed(
    restrictions: &[RestrictionLine],
    at: OffsetDateTime,
) -> (Vec<RestrictionKind>, Vec<RestrictionKind>) {
    let by_policy =
        || restrictions.iter().filter(|line| line.lifted_by.is_none() || line.ended_at != Some(at));
    let stood = |line: &&RestrictionLine| line.since < at && line.ended_at.is_none_or(|ended| ended >= at);
    let stands = |line: &&RestrictionLine| line.since <= at && line.ended_at.is_none_or(|ended| ended > at);
    let before: BTreeSet<RestrictionKind> = by_policy().filter(stood).map(|line| line.kind).collect();
    let after: BTreeSet<RestrictionKind> = by_policy().filter(stands).map(|line| line.kind).collect();
    (after.difference(&before).copied().collect(), before.difference(&after).copied().collect())
}

/// What operators lifted, and what followed when the payment became known or changed hands.
fn unattached(heard: &BTreeMap<String, Heard>, restrictions: &[RestrictionLine]) -> Vec<Moment> {
    let settled: BTreeSet<OffsetDateTime> = heard.values().filter_map(|heard| heard.settled_at).collect();
    let mut found: BTreeMap<(OffsetDateTime, Option<&str>), Unattached> = BTreeMap::new();
    let nothing = || Unattached { restricted: Vec::new(), lifted: Vec::new(), by: None, reason: None };
    for line in restrictions {
        if !settled.contains(&line.since) {
            let at = found.entry((line.since, None)).or_insert_with(nothing);
            at.restricted.push(line.kind);
        }
        let Some(ended) = line.ended_at else { continue };
        if line.lifted_by.is_some() || !settled.contains(&ended) {
            let at = found.entry((ended, line.lifted_by.as_deref())).or_insert_with(nothing);
            at.lifted.push(line.kind);
            at.by = line.lifted_by.clone();
            at.reason = line.lifted_reason.clone();
        }
    }
    let moment = |((at, _), mut what): ((OffsetDateTime, Option<&str>), Unattached)| {
        for kinds in [&mut what.restricted, &mut what.lifted] {
            kinds.sort_unstable();
            kinds.dedup();
        }
        Moment { at, what: Happening::Restrictions(what) }
    };
    found.into_iter().map(moment).collect()
}

/// Adds the payment's transactions: each to the step that came with the same delivery, the others between the steps.
pub(super) fn with_journal(id: &CaseId, moments: &mut Vec<Moment>, transactions: &[TransactionView]) {
    let mut others = Vec::new();
    for transaction in transactions {
        let posted = Posted::from(transaction);
        let of_delivery = moments.iter_mut().find_map(|moment| match &mut moment.what {
            Happening::Said(said) => (said.delivery(id) == posted.cause).then_some(said),
            Happening::Restrictions(_) | Happening::Posted(_) | Happening::Note(_) => None,
        });
        match of_delivery {
            Some(said) => said.posted.push(posted),
            None => others.push(Moment { at: transaction.at, what: Happening::Posted(posted) }),
        }
    }
    moments.extend(others);
    moments.sort_by_key(|moment| moment.at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Cause;
    use domain::dispute::CauseKind;
    use domain::fact::Dispute;
    use time::macros::datetime;

    const T0: OffsetDateTime = datetime!(2026-11-20 10:00 UTC);

    fn at(minutes: i64) -> OffsetDateTime {
        T0 + time::Duration::minutes(minutes)
    }

    fn said(status: DisputeStatus, minutes: i64) -> Dispute {
        Dispute {
            dispute: "dp_1".to_owned(),
            payment: "stripe:pi_1".parse().unwrap(),
            aliases: Vec::new(),
            status,
            amount: None,
            reason: None,
            evidence_due_by: None,
            round: None,
            began_at: None,
            is_early_warning: false,
            is_refundable: None,
            network_reason: None,
            fee: None,
            by: None,
            by_silence: false,
            occurred_at: at(minutes),
        }
    }

    /// A case of these steps, each settled a minute after it was said, unless it says when.
    fn case(steps: &[(DisputeStatus, i64, i64)]) -> (CaseRecord, BTreeMap<String, Heard>) {
        let (mut record, mut heard) = (CaseRecord::default(), BTreeMap::new());
        for (status, said_at, settled_at) in steps {
            let cause = Cause { source: "stripe".to_owned(), id: format!("evt_{said_at}:dispute:dp_1") };
            record.note(&cause, &said(*status, *said_at));
            let settled_at = Some(at(*settled_at));
            heard.insert(cause.to_string(), Heard { admitted_at: at(*said_at), settled_at, reason: None });
        }
        (record, heard)
    }

    fn restriction(kind: RestrictionKind, stage: &str, since: i64, ended: Option<i64>) -> RestrictionLine {
        RestrictionLine {
            kind,
            cause: CauseKind::Case,
            case: Some("stripe:dp_1".to_owned()),
            by: None,
            reason: None,
            stage: Some(stage.to_owned()),
            since: at(since),
            ended_at: ended.map(at),
            lifted_by: None,
            lifted_reason: None,
        }
    }

    fn told(moments: &[Moment]) -> Vec<String> {
        let kinds =
            |kinds: &[RestrictionKind]| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join("+");
        let line = |moment: &Moment| match &moment.what {
            Happening::Said(said) => format!(
                "{} on {} off {} moved {}",
                said.state,
                kinds(&said.restricted),
                kinds(&said.lifted),
                said.posted.len()
            ),
            Happening::Restrictions(what) => format!(
                "{} on {} off {}",
                what.by.as_deref().unwrap_or("nobody"),
                kinds(&what.restricted),
                kinds(&what.lifted)
            ),
            Happening::Posted(posted) => format!("posted {}", posted.kind),
            Happening::Note(note) => format!("note {}", note.text),
        };
        moments.iter().map(line).collect()
    }

    #[test]
    fn each_step_tells_what_it_put_on_and_lifted_and_what_goes_over_is_neither() {
        use DisputeStatus as D;
        use RestrictionKind::{Access, Balance, Checkout};
        let (record, heard) = case(&[(D::Warning, 0, 1), (D::Open, 10, 11), (D::Won, 20, 21)]);
        let restrictions = [
            restriction(Checkout, "warning", 1, Some(11)),
            restriction(Access, "formal", 11, Some(15)),
            restriction(Checkout, "formal", 11, Some(21)),
            restriction(Balance, "formal", 11, Some(21)),
        ];
        let lifted = RestrictionLine { lifted_by: Some("ada".to_owned()), ..restrictions[1].clone() };
        let restrictions =
            [restrictions[0].clone(), lifted, restrictions[2].clone(), restrictions[3].clone()];
        let note = Moment {
            at: at(12),
            what: Happening::Note(Noted { by: "eve".to_owned(), text: "called".to_owned() }),
        };
        let moments = timeline(&record, &record.read().unwrap(), &heard, &restrictions, vec![note]);
        assert_eq!(
            told(&moments),
            [
                "warning on checkout off  moved 0",
                "open on access+balance off  moved 0",
                "note called",
                "ada on  off access",
                "won on  off checkout+balance moved 0",
            ]
        );
    }

    #[test]
    fn a_step_that_was_heard_late_stands_where_it_holds_and_what_followed_later_is_its_own_line() {
        use DisputeStatus as D;
        // Won was heard first; that it was open came later. Its payment became known at 30.
        let (record, heard) = case(&[(D::Won, 20, 1), (D::Open, 10, 5)]);
        let restrictions = [restriction(RestrictionKind::Checkout, "formal", 30, None)];
        let moments = timeline(&record, &record.read().unwrap(), &heard, &restrictions, Vec::new());
        assert_eq!(
            told(&moments),
            ["open on  off  moved 0", "won on  off  moved 0", "nobody on checkout off "]
        );
    }

    #[test]
    fn credits_stand_at_the_step_of_their_delivery_and_others_between() {
        let (record, heard) = case(&[(DisputeStatus::Open, 10, 11)]);
        let mut moments = timeline(&record, &record.read().unwrap(), &heard, &[], Vec::new());
        let transaction = |number, minutes, kind: &str, cause: &str| TransactionView {
            account: "a".to_owned(),
            number,
            at: at(minutes),
            kind: kind.to_owned(),
            cause: cause.to_owned(),
            payment: None,
            entries: Vec::new(),
            after: None,
        };
        let transactions = [
            transaction(1, 0, "grant", "stripe/evt_0"),
            transaction(2, 13, "reversal", "stripe/evt_10"),
            transaction(3, 40, "reversal", "stripe/evt_40"),
        ];
        with_journal(&"stripe:dp_1".parse().unwrap(), &mut moments, &transactions);
        assert_eq!(told(&moments), ["posted grant", "open on  off  moved 1", "posted reversal"]);
    }
}
