use super::*;
use crate::envelope::Cause;
use crate::fact::{Dispute, DisputeStatus, RestrictionKind};
use crate::ids::{CaseId, PaymentId};
use crate::money::{Money, currency};
use proptest::prelude::*;
use rust_decimal::Decimal;
use std::collections::BTreeSet;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;

const BEGIN: OffsetDateTime = datetime!(2026-11-01 10:00:00 UTC);

fn said(status: DisputeStatus, at: i64) -> Dispute {
    Dispute {
        dispute: "dp_1".to_owned(),
        payment: PaymentId::new("stripe", "pi_1").unwrap(),
        aliases: Vec::new(),
        status,
        amount: Some(Money::new(Decimal::TEN, currency("USD").unwrap()).unwrap()),
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
        occurred_at: BEGIN + time::Duration::seconds(at),
    }
}

fn cause(id: &str) -> Cause {
    Cause { source: "stripe".to_owned(), id: id.to_owned() }
}

fn record(facts: &[Dispute]) -> CaseRecord {
    let mut record = CaseRecord::default();
    for (number, fact) in facts.iter().enumerate() {
        assert!(record.note(&cause(&format!("evt_{number}")), fact));
    }
    record
}

/// Every step that there is: from each state, what each status makes of it.
#[test]
fn every_step_legal_or_not_is_in_this_table() {
    use CaseState as S;
    use DisputeStatus as D;
    use StepKind::{Illegal, Moves, Opens, Overturns, Reopens, Repeats};
    let statuses = [D::Warning, D::Open, D::UnderReview, D::Prevented, D::Withdrawn, D::Lost, D::Won];
    let goes = [S::Warning, S::Open, S::UnderReview, S::Prevented, S::Withdrawn, S::Lost, S::Won];
    let check = |from: Option<S>, to: [(S, StepKind); 7]| {
        for (status, expect) in statuses.into_iter().zip(to) {
            assert_eq!(step(from, status), expect, "{from:?} and then {status:?}");
        }
    };
    check(None, goes.map(|to| (to, Opens)));
    let mut from_warning = goes.map(|to| (to, Moves));
    from_warning[0].1 = Repeats;
    check(Some(S::Warning), from_warning);
    let filed = |from: S, open: (S, StepKind), review: (S, StepKind)| {
        [
            (from, Illegal),
            open,
            review,
            (S::Prevented, Moves),
            (S::Withdrawn, Moves),
            (S::Lost, Moves),
            (S::Won, Moves),
        ]
    };
    check(Some(S::Open), filed(S::Open, (S::Open, Repeats), (S::UnderReview, Moves)));
    check(Some(S::Reopened), filed(S::Reopened, (S::Reopened, Repeats), (S::UnderReview, Moves)));
    check(Some(S::UnderReview), filed(S::UnderReview, (S::Open, Moves), (S::UnderReview, Repeats)));
    let ended = |from: S, lost: StepKind, won: StepKind| {
        [
            (from, Illegal),
            (S::Reopened, Reopens),
            (S::UnderReview, Reopens),
            (from, if from == S::Prevented { Repeats } else { Illegal }),
            (from, if from == S::Withdrawn { Repeats } else { Illegal }),
            (S::Lost, lost),
            (S::Won, won),
        ]
    };
    check(Some(S::Won), ended(S::Won, Overturns, Repeats));
    check(Some(S::Lost), ended(S::Lost, Repeats, Overturns));
    check(Some(S::Prevented), ended(S::Prevented, Moves, Moves));
    check(Some(S::Withdrawn), ended(S::Withdrawn, Moves, Moves));
}

#[test]
fn what_speaks_late_is_kept_and_changes_nothing() {
    let case = record(&[said(DisputeStatus::Open, 0), said(DisputeStatus::Warning, 5)]).read().unwrap();
    assert_eq!((case.state, case.illegal_steps()), (CaseState::Open, 1));
    assert_eq!(case.steps.len(), 2);
}

#[test]
fn what_arrives_closed_before_it_was_created_ends_closed() {
    let facts = [said(DisputeStatus::Lost, 10), said(DisputeStatus::Open, 0)];
    assert_eq!(record(&facts).read().unwrap().state, CaseState::Lost);
    // Of one second the later stage holds.
    let facts = [said(DisputeStatus::Won, 10), said(DisputeStatus::UnderReview, 10)];
    assert_eq!(record(&facts).read().unwrap().state, CaseState::Won);
}

/// A round of a Paddle case: the adjustment, when it was made, what it says, when it says so.
fn round(adjustment: &str, began: i64, status: DisputeStatus, at: i64) -> Dispute {
    Dispute {
        round: Some(adjustment.to_owned()),
        began_at: Some(BEGIN + time::Duration::seconds(began)),
        ..said(status, at)
    }
}

#[test]
fn a_paddle_case_goes_round_whatever_is_told_late_of_earlier_rounds() {
    let facts = [
        round("adj_1", 0, DisputeStatus::Warning, 0),
        round("adj_2", 100, DisputeStatus::Open, 100),
        round("adj_3", 200, DisputeStatus::Won, 200),
        round("adj_4", 300, DisputeStatus::Open, 300),
        // News of the first chargeback, after the second.
        round("adj_2", 100, DisputeStatus::Won, 400),
    ];
    let states: Vec<CaseState> =
        (1..=facts.len()).map(|until| record(&facts[..until]).read().unwrap().state).collect();
    use CaseState::{Open, Reopened, Warning, Won};
    assert_eq!(states, [Warning, Open, Won, Reopened, Reopened]);
    let case = record(&facts).read().unwrap();
    assert_eq!((case.reopened, case.illegal_steps(), case.round.as_deref()), (1, 0, Some("adj_4")));
    // A warning after a case that was won is a new round, too.
    let again = [&facts[..3], &[round("adj_5", 500, DisputeStatus::Warning, 500)]].concat();
    assert_eq!(record(&again).read().unwrap().state, Warning);
}

#[test]
fn an_operators_word_holds_until_the_processor_says_more() {
    let closed = Dispute { by: Some("ada".to_owned()), ..said(DisputeStatus::Withdrawn, 10) };
    let facts = [said(DisputeStatus::Open, 0), closed, said(DisputeStatus::UnderReview, 20)];
    assert_eq!(record(&facts[..2]).read().unwrap().state, CaseState::Withdrawn);
    assert_eq!(record(&facts).read().unwrap().state, CaseState::UnderReview);
}

/// That nobody said anything for so many seconds, until a moment.
fn silence(status: DisputeStatus, since: i64, at: i64) -> Dispute {
    let began_at = Some(BEGIN + time::Duration::seconds(since));
    Dispute { by_silence: true, began_at, round: Some("adj_1".to_owned()), ..said(status, at) }
}

#[test]
fn silence_decides_only_where_there_was_silence_and_nothing_was_decided() {
    let open = round("adj_1", 0, DisputeStatus::Open, 0);
    let silent = silence(DisputeStatus::Lost, 0, 100);
    let state = |facts: &[Dispute]| record(facts).read().unwrap().state;
    assert_eq!(state(&[open.clone(), silent.clone()]), CaseState::Lost);
    // Said before it was over, and told late: of the same round, and by a round of its own.
    let reversed = round("adj_1", 0, DisputeStatus::Won, 50);
    assert_eq!(state(&[open.clone(), silent.clone(), reversed]), CaseState::Won);
    let reverse = round("adj_2", 60, DisputeStatus::Won, 60);
    assert_eq!(state(&[open.clone(), silent.clone(), reverse]), CaseState::Won);
    let again = round("adj_1", 0, DisputeStatus::Open, 50);
    let facts = [open.clone(), silent.clone(), again];
    assert_eq!(state(&facts), CaseState::Open, "it has not been silent for so long");
    assert_eq!(record(&facts).read().unwrap().illegal_steps(), 0);
    // And from then on for as long.
    assert_eq!(state(&[&facts[..], &[silence(DisputeStatus::Lost, 50, 150)]].concat()), CaseState::Lost);
    // Said after it: the processor has the last word.
    let later = round("adj_1", 0, DisputeStatus::Won, 200);
    assert_eq!(state(&[open, silent, later]), CaseState::Won);
}

#[test]
fn a_deadline_is_the_one_of_the_round_that_stands_and_only_while_an_answer_is_asked_for() {
    let due = BEGIN + time::Duration::days(8);
    let later = BEGIN + time::Duration::days(20);
    let with = |status, at, due| Dispute { evidence_due_by: due, ..said(status, at) };
    let facts = [
        with(DisputeStatus::Warning, 0, Some(due)),
        with(DisputeStatus::Open, 10, Some(later)),
        with(DisputeStatus::UnderReview, 20, Some(later)),
    ];
    let due_by = |facts: &[Dispute]| record(facts).read().unwrap().evidence_due_by;
    assert_eq!(due_by(&facts[..1]), Some(due));
    assert_eq!(due_by(&facts[..2]), Some(later));
    assert_eq!(due_by(&facts), None);
}

#[test]
fn a_stage_that_an_operator_has_lifted_is_told_from_the_next_round() {
    let id = CaseId::new("stripe", "dp_1").unwrap();
    let policy = Policy::default();
    let stages = |state, epoch| -> BTreeSet<String> {
        asked_by_case(&id, state, epoch, &policy).into_iter().map(|cause| cause.stage).collect()
    };
    assert_eq!(stages(CaseState::Open, ""), stages(CaseState::UnderReview, ""));
    assert_ne!(stages(CaseState::Open, ""), stages(CaseState::Reopened, "#2"));
    assert_ne!(stages(CaseState::Open, ""), stages(CaseState::Warning, ""));
    assert!(stages(CaseState::Won, "").is_empty() && stages(CaseState::Lost, "#2").is_empty());
}

#[test]
fn late_news_of_an_earlier_round_does_not_begin_another_part_of_the_case() {
    let facts = [
        round("adj_1", 0, DisputeStatus::Warning, 0),
        round("adj_2", 100, DisputeStatus::Open, 100),
        // The warning turns out to be reversed, after the chargeback came.
        round("adj_1", 0, DisputeStatus::Prevented, 200),
        round("adj_3", 300, DisputeStatus::Won, 300),
        round("adj_4", 400, DisputeStatus::Open, 400),
    ];
    let epochs: Vec<String> =
        (1..=facts.len()).map(|until| record(&facts[..until]).read().unwrap().epoch).collect();
    assert_eq!(epochs, ["@adj_1", "@adj_2", "@adj_2", "@adj_3", "@adj_4"]);
    let stripe = [
        said(DisputeStatus::Open, 0),
        said(DisputeStatus::Won, 10),
        said(DisputeStatus::Open, 20),
        said(DisputeStatus::UnderReview, 30),
    ];
    let epochs: Vec<String> =
        (1..=stripe.len()).map(|until| record(&stripe[..until]).read().unwrap().epoch).collect();
    assert_eq!(epochs, ["", "", "#2", "#2"]);
}

#[test]
fn a_processor_that_repeats_itself_does_not_undo_an_operators_word() {
    let closed = Dispute { by: Some("ada".to_owned()), ..said(DisputeStatus::Withdrawn, 10) };
    let facts =
        [said(DisputeStatus::Open, 0), closed, said(DisputeStatus::Open, 20), said(DisputeStatus::Open, 21)];
    assert_eq!(record(&facts).read().unwrap().state, CaseState::Withdrawn);
    let facts = [&facts[..], &[said(DisputeStatus::Lost, 30)]].concat();
    assert_eq!(record(&facts).read().unwrap().state, CaseState::Lost);
    let facts = [&facts[..], &[said(DisputeStatus::Open, 40)]].concat();
    assert_eq!(record(&facts).read().unwrap().state, CaseState::Reopened);
}

#[test]
fn the_rule_of_risk_counts_within_its_window() {
    let rule = RiskRule {
        disputes: 3,
        within: Duration::from_secs(100),
        restricts: BTreeSet::from([RestrictionKind::Checkout]),
    };
    let asked = |at: &[i64]| -> Vec<String> {
        let case = |(number, at): (usize, &i64)| RiskCase {
            opened_at: BEGIN + time::Duration::seconds(*at),
            case: CaseId::new("stripe", &format!("dp_{number}")).unwrap(),
        };
        let causes = asked_by_risk(at.iter().enumerate().map(case).collect(), &rule);
        causes.into_iter().map(|cause| cause.stage).collect()
    };
    assert!(asked(&[0, 50]).is_empty());
    assert_eq!(asked(&[0, 50, 100]), ["stripe:dp_2"]);
    assert!(asked(&[0, 50, 101]).is_empty());
    assert_eq!(asked(&[101, 0, 50, 60]), ["stripe:dp_0", "stripe:dp_3"], "in whatever order they are told");
}

fn any_status() -> impl Strategy<Value = DisputeStatus> {
    prop::sample::select(DisputeStatus::ALL.to_vec())
}

prop_compose! {
    fn any_fact()(
        status in any_status(),
        at in 0i64..40,
        round in prop::option::of((0u8..4, 0i64..40)),
        by_operator in prop::bool::weighted(0.1),
    ) -> Dispute {
        let fact = match round {
            None => said(status, at),
            Some((name, began)) => self::round(&format!("adj_{name}"), began, status, at),
        };
        Dispute { by: by_operator.then(|| "ada".to_owned()), ..fact }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever is told, in whatever order and how often: the case ends alike.
    #[test]
    fn any_order_and_repetition_of_the_same_facts_ends_alike(
        facts in prop::collection::vec(any_fact(), 1..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let told: Vec<(Cause, &Dispute)> =
            facts.iter().enumerate().map(|(number, fact)| (cause(&format!("evt_{number}")), fact)).collect();
        let mut straight = CaseRecord::default();
        for (cause, fact) in &told {
            straight.note(cause, fact);
        }
        let mut shuffled = CaseRecord::default();
        let picks = order.iter().map(|index| index.index(told.len())).chain((0..told.len()).rev());
        for pick in picks {
            let (cause, fact) = &told[pick];
            shuffled.note(cause, fact);
            prop_assert!(shuffled.read().is_some());
        }
        prop_assert_eq!(straight.read(), shuffled.read());
        let json = serde_json::to_string(&shuffled).unwrap();
        prop_assert_eq!(serde_json::from_str::<CaseRecord>(&json).unwrap(), straight);
    }

    /// No step is lost, and the state is what the last legal step says.
    #[test]
    fn every_fact_is_a_step_and_illegal_ones_change_nothing(facts in prop::collection::vec(any_fact(), 1..12)) {
        let case = record(&facts).read().unwrap();
        prop_assert_eq!(case.steps.len(), facts.len());
        let mut state = None;
        for step in &case.steps {
            if step.step == StepKind::Illegal {
                prop_assert_eq!(Some(step.state), state);
            }
            state = Some(step.state);
        }
        prop_assert_eq!(state, Some(case.state));
    }
}
