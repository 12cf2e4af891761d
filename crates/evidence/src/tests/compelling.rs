use super::worked;
use crate::pack::{EarlierPayment, Pack};
use crate::{CompellingEvidence, State};
use time::{Duration, OffsetDateTime};

fn bought() -> OffsetDateTime {
    worked::pack().purchase.at
}

fn days_before(days: i64) -> EarlierPayment {
    worked::earlier(&format!("{days}"), bought() - Duration::days(days))
}

/// The worked pack with other earlier payments.
fn with(earlier: Vec<EarlierPayment>) -> Pack {
    let mut pack = worked::pack();
    pack.earlier.payments = earlier;
    pack
}

/// What is told of one requirement, and whether all are met.
#[track_caller]
fn check(pack: &Pack, field: &str, state: State, qualifies: bool) {
    let evidence = CompellingEvidence::of(pack);
    let requirement =
        evidence.requirements.iter().find(|it| it.field == field).expect("a requirement of this name");
    assert_eq!((requirement.state, evidence.qualifies), (state, qualifies), "{evidence:#?}");
}

#[test]
fn all_is_met_by_the_worked_pack() {
    let evidence = CompellingEvidence::of(&worked::pack());
    assert!(evidence.qualifies, "{evidence:#?}");
    let ids: Vec<&str> = evidence.earlier.iter().map(|id| id.id()).collect();
    assert_eq!(ids, ["pi_1Aaa", "pi_2Bbb"]);
}

#[test]
fn earlier_payments_are_120_to_364_days_before() {
    let field = "two earlier payments";
    for (days, state) in [
        ([120, 364], State::Met),
        ([119, 364], State::Missing),
        ([120, 365], State::Missing),
        ([-150, 200], State::Missing),
    ] {
        check(&with(days.map(days_before).to_vec()), field, state, state == State::Met);
    }
    check(&with(vec![]), field, State::Missing, false);
    check(&with(vec![days_before(200)]), field, State::Missing, false);
}

#[test]
fn the_day_counts_and_not_the_hour() {
    let late = bought().replace_time(time::macros::time!(23:59)) - Duration::days(120);
    check(
        &with(vec![worked::earlier("late", late), days_before(200)]),
        "two earlier payments",
        State::Met,
        true,
    );
}

#[test]
fn one_main_element_is_enough_because_the_account_is_shared() {
    let mut pack = worked::pack();
    pack.purchase.references.device = None;
    check(&pack, "device", State::Unknown, true);
    check(&pack, "shared elements", State::Met, true);
    pack.purchase.references.ip = None;
    check(&pack, "shared elements", State::Unknown, false);
    let other = Some("another".to_owned());
    pack.purchase.references.ip = other.clone();
    pack.purchase.references.device = other;
    check(&pack, "shared elements", State::Missing, false);
}

#[test]
fn all_three_must_share_one_and_the_same_element() {
    let (mut first, mut second) = (days_before(130), days_before(140));
    first.references.ip = Some("another".to_owned());
    second.references.device = Some("another".to_owned());
    check(&with(vec![first, second]), "shared elements", State::Missing, false);
}

#[test]
fn each_other_requirement_counts() {
    let base = || with(vec![days_before(130), days_before(140)]);
    type Change = fn(&mut Pack);
    let changes: [(&str, State, Change); 8] = [
        ("dispute", State::Missing, |pack| pack.dispute.network_reason_code = Some("13.1".to_owned())),
        ("dispute", State::Missing, |pack| pack.dispute.network = Some("mastercard".to_owned())),
        ("dispute", State::Unknown, |pack| pack.dispute.network_reason_code = None),
        ("same means of payment", State::Unknown, |pack| pack.purchase.references.payment_method = None),
        ("same means of payment", State::Missing, |pack| {
            pack.earlier.payments[0].references.payment_method = Some("fp_other".to_owned());
        }),
        ("product descriptions", State::Missing, |pack| pack.earlier.payments[0].description = None),
        ("product descriptions", State::Missing, |pack| pack.purchase.description = None),
        ("charge ids", State::Missing, |pack| pack.earlier.payments[1].aliases.clear()),
    ];
    for (field, state, change) in changes {
        let mut pack = base();
        change(&mut pack);
        check(&pack, field, state, false);
    }
    check(&base(), "dispute", State::Met, true);
}

#[test]
fn of_many_the_pair_that_fits_is_found() {
    let mut payments: Vec<EarlierPayment> = (121..360).map(days_before).collect();
    for (index, payment) in payments.iter_mut().enumerate() {
        if index != 17 && index != 200 {
            payment.references.ip = Some(format!("other {index}"));
            payment.references.device = None;
        }
    }
    let expected = [payments[200].payment.clone(), payments[17].payment.clone()];
    let evidence = CompellingEvidence::of(&with(payments));
    assert!(evidence.qualifies);
    assert_eq!(evidence.earlier, expected);
}

#[test]
fn elements_that_are_no_requirement_of_their_own_may_be_missing() {
    let mut pack = worked::pack();
    pack.purchase.references.email = None;
    check(&pack, "e-mail address", State::Unknown, true);
    check(&pack, "shipping address", State::Unknown, true);
    check(&pack, "account id", State::Met, true);
}
