//! Whatever moments facts state and however long terms and graces are: nothing panics, and what is stored can be told.

use super::*;
use crate::calendar;
use crate::fact::Expiry;
use proptest::collection::vec;

/// Mostly at the ends of the calendar, where sums leave it.
fn any_moment() -> impl Strategy<Value = OffsetDateTime> {
    let first = datetime!(0000-01-01 00:00:00 UTC).unix_timestamp();
    let last = datetime!(9999-12-31 23:59:59 UTC).unix_timestamp();
    let offset = -86_399..=86_399i32;
    let seconds = prop_oneof![first..=first + 200_000, last - 200_000..=last, first..=last];
    (seconds, offset).prop_filter_map("told", |(seconds, offset)| {
        let offset = time::UtcOffset::from_whole_seconds(offset).ok()?;
        let at = OffsetDateTime::from_unix_timestamp(seconds).ok()?.checked_to_offset(offset)?;
        calendar::told(at).ok()
    })
}

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![0..=200_000i64, 0..=i64::MAX].prop_map(Duration::seconds)
}

/// Buys, gives, uses, takes back, lets expire and restores.
fn any_fact() -> impl Strategy<Value = Fact> {
    (0..6, any_moment(), any_moment()).prop_map(|(kind, at, other)| match kind {
        0 => match buy("t1", "a", "pri_1050", "10.00") {
            Fact::Payment(payment) => Fact::Payment(fact::Payment { occurred_at: at, ..payment }),
            other => other,
        },
        1 => match grant("a", 50) {
            Fact::Grant(grant) => Fact::Grant(fact::Grant { expires_at: Some(at), ..grant }),
            other => other,
        },
        2 => usage("a", 300),
        3 | 4 => {
            let status = if kind == 3 { Final } else { Void };
            match moved("r1", "t1", Refund, status, "4.00", 0) {
                Fact::Movement(movement) => Fact::Movement(fact::Movement { occurred_at: at, ..movement }),
                other => other,
            }
        }
        _ => Fact::Expiry(Expiry { account: AccountId::new("a").unwrap(), as_of: other }),
    })
}

proptest! {
    #[test]
    fn no_moment_and_no_term_panics_and_every_expiry_can_be_told(
        facts in vec(any_fact(), 1..12),
        term in any_duration(),
        grace in any_duration(),
        now in any_moment(),
    ) {
        let mut world = World::new();
        world.expire_prices_after(term);
        world.rules.grace = grace;
        world.now = now;
        for (number, fact) in facts.iter().enumerate() {
            let heard = world.hear(&number.to_string(), fact);
            prop_assert!(heard.is_ok(), "{fact:?}: {heard:?}");
        }
        let lots = world.books.accounts.values().flat_map(|account| account.lots.by_name.values());
        for at in lots.flat_map(|lot| [lot.expires_at, lot.grace_until, Some(lot.since)]).flatten() {
            prop_assert_eq!(calendar::told(at), Ok(at));
        }
    }
}
