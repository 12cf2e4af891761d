//! The worked examples of `worked-examples.md`: what stands there between two markers is what the rule does, and the
//! balances are written down here once more by hand. `REWRITE_SNAPSHOTS=1` writes the tables anew; read the difference
//! before committing it.

use super::*;
use std::fmt::Write;
use std::path::PathBuf;

/// What happens, in words, the fact that tells it, and `[available, held, debt]` after it.
type Step = (&'static str, Fact, [&'static str; 3]);

fn document() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("worked-examples.md")
}

/// Tells the steps; expects the balances by hand and the tables between the document's markers.
fn check(name: &str, scale: u32, steps: &[Step]) {
    let mut world = World::by(Rules { scale, ..rules() });
    let mut got = String::new();
    for (number, (title, fact, expect)) in steps.iter().enumerate() {
        let decision = world.tell(&format!("step {}", number + 1), fact).unwrap();
        assert_eq!(world.balances("a"), *expect, "{name}, after {title}");
        render(&mut got, number + 1, title, &decision.transactions, expect);
    }
    let [begin, end] = [format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->")];
    let text = std::fs::read_to_string(document()).unwrap();
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("the document has {begin}"));
    let (shown, after) = rest.split_once(&end).unwrap_or_else(|| panic!("the document has {end}"));
    if std::env::var_os("REWRITE_SNAPSHOTS").is_some() {
        std::fs::write(document(), format!("{before}{begin}{got}{end}{after}")).unwrap();
    } else {
        assert_eq!(shown, got, "{name}: the document is not what the rule does");
    }
}

fn render(text: &mut String, number: usize, title: &str, made: &[Transaction], balances: &[&str; 3]) {
    write!(text, "\n**{number}. {title}**\n\n").unwrap();
    if made.is_empty() {
        text.push_str("No journal entry.\n");
    } else {
        text.push_str("| transaction | book | lot | credits |\n| --- | --- | --- | ---: |\n");
    }
    for transaction in made {
        let mut name = format!("{} {}", transaction.number, transaction.kind.as_str());
        for entry in &transaction.entries {
            let lot = entry.lot.as_deref().unwrap_or("(the account)");
            // A payment's lot bears its name, a granted one that of the fact that granted it.
            let lot = lot.trim_start_matches("paddle:").trim_start_matches("paddle/").replace('#', " ");
            let sign = if entry.amount.is_positive() { "+" } else { "" };
            writeln!(text, "| {name} | {} | {lot} | {sign}{} |", entry.book.as_str(), entry.amount).unwrap();
            name.clear();
        }
    }
    let [available, held, debt] = balances;
    write!(text, "\nAfter it: {available} available, {held} held, {debt} debt.\n").unwrap();
}

/// The tables stand in one file, which is written anew by one test at a time.
#[test]
fn the_worked_examples_are_what_the_rule_does() {
    charged_back_after_use_and_won();
    partial_refunds_in_each_order();
    disputed_above_the_payment();
    refunded_while_disputed();
    nothing_fully_refunded_is_spendable_again();
    refunds_that_name_items();
    several_chargebacks();
}

fn charged_back_after_use_and_won() {
    check(
        "a",
        6,
        &[
            (
                "t1 is paid: 10.00 USD for 1,000 credits",
                buy("t1", "a", "pri_1000", "10.00"),
                ["1000", "0", "0"],
            ),
            ("600 credits are used", usage("a", 600), ["400", "0", "0"]),
            (
                "t1 is charged back: 10.00 of 10.00",
                moved("d1", "t1", Chargeback, Final, "10.00", 1),
                ["0", "0", "600"],
            ),
            (
                "t2 is paid: 10.00 USD for 1,000 credits",
                buy("t2", "a", "pri_1000", "10.00"),
                ["400", "0", "0"],
            ),
            ("The chargeback of t1 is won", moved("b1", "t1", Back, Final, "10.00", 2), ["1400", "0", "0"]),
        ],
    );
}

fn partial_refunds_in_each_order() {
    let paid = || {
        let title = "t1 is paid: 10.00 USD for 1,000 credits and 50 bonus";
        (title, buy("t1", "a", "pri_1050", "10.00"), ["1050", "0", "0"])
    };
    let refund = |id: &str, amount: &'static str, left: &'static str| {
        let title = if amount == "3.33" { "3.33 is refunded" } else { "3.34 is refunded" };
        (title, moved(id, "t1", Refund, Final, amount, 1), [left, "0", "0"])
    };
    let in_order = |name: &str, scale, amounts: [&'static str; 3], left: [&'static str; 2]| {
        let [first, second, third] = amounts;
        let steps = [refund("r1", first, left[0]), refund("r2", second, left[1]), refund("r3", third, "0")];
        check(name, scale, &[vec![paid()], steps.into()].concat());
    };
    in_order("b: 3.33, 3.33, 3.34", 6, ["3.33", "3.33", "3.34"], ["700.35", "350.7"]);
    in_order("b: 3.33, 3.34, 3.33", 6, ["3.33", "3.34", "3.33"], ["700.35", "349.65"]);
    in_order("b: 3.34, 3.33, 3.33", 6, ["3.34", "3.33", "3.33"], ["699.3", "349.65"]);
    in_order("b in whole credits: 3.33, 3.33, 3.34", 0, ["3.33", "3.33", "3.34"], ["700", "351"]);
    in_order("b in whole credits: 3.33, 3.34, 3.33", 0, ["3.33", "3.34", "3.33"], ["700", "350"]);
    in_order("b in whole credits: 3.34, 3.33, 3.33", 0, ["3.34", "3.33", "3.33"], ["699", "350"]);
}

fn disputed_above_the_payment() {
    check(
        "c",
        6,
        &[
            (
                "t1 is paid: 10.00 USD for 1,000 credits",
                buy("t1", "a", "pri_1000", "10.00"),
                ["1000", "0", "0"],
            ),
            ("250 credits are used", usage("a", 250), ["750", "0", "0"]),
            (
                "The bank disputes 12.00 and takes it",
                moved("d1", "t1", Chargeback, Final, "12.00", 1),
                ["0", "0", "250"],
            ),
            (
                "The dispute is won: its 12.00 come back",
                moved("d1", "t1", Chargeback, Void, "12.00", 2),
                ["750", "0", "0"],
            ),
        ],
    );
}

fn refunded_while_disputed() {
    let paid = || {
        let title = "t1 is paid: 10.00 USD for 1,000 credits";
        (title, buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"])
    };
    let refunded =
        |expect| ("4.00 is refunded meanwhile", moved("r1", "t1", Refund, Final, "4.00", 2), expect);
    let won = |expect| ("The dispute is won", moved("d1", "t1", Chargeback, Void, "10.00", 3), expect);
    check(
        "d: an inquiry",
        6,
        &[
            paid(),
            (
                "The bank inquires about 10.00; no money has moved",
                moved("d1", "t1", Chargeback, Pending, "10.00", 1),
                ["0", "1000", "0"],
            ),
            refunded(["0", "600", "0"]),
            won(["600", "0", "0"]),
        ],
    );
    check(
        "d: a dispute",
        6,
        &[
            paid(),
            (
                "The bank disputes 10.00 and takes it",
                moved("d1", "t1", Chargeback, Final, "10.00", 1),
                ["0", "0", "0"],
            ),
            refunded(["0", "0", "0"]),
            won(["600", "0", "0"]),
        ],
    );
}

fn refunds_that_name_items() {
    use super::lines::{lines_of, of_lines};
    check(
        "f",
        6,
        &[
            (
                "t1 is paid: 20.00 USD for 1,000 credits (l1, 10.00), 1,000 and 50 bonus (l2, 5.00) and a shirt (l3, 5.00)",
                lines_of("t1", "20.00"),
                ["2050", "0", "0"],
            ),
            (
                "The shirt is refunded: 5.00 of l3",
                of_lines(moved("r1", "t1", Refund, Final, "5.00", 1), &[("l3", "5.00")]),
                ["2050", "0", "0"],
            ),
            (
                "6.00 is refunded, and names nothing",
                moved("r2", "t1", Refund, Final, "6.00", 2),
                ["1230", "0", "0"],
            ),
            (
                "A refund of 3.00 of l2 is asked for",
                of_lines(moved("r3", "t1", Refund, Pending, "3.00", 3), &[("l2", "3.00")]),
                ["710", "520", "0"],
            ),
            (
                "It goes through",
                of_lines(moved("r3", "t1", Refund, Final, "3.00", 4), &[("l2", "3.00")]),
                ["710", "0", "0"],
            ),
            (
                "The rest is charged back: 20.00",
                moved("d1", "t1", Chargeback, Final, "20.00", 5),
                ["0", "0", "0"],
            ),
        ],
    );
}

fn several_chargebacks() {
    let chargeback = |id: &str, amount: &str| moved(id, "t1", Chargeback, Final, amount, 1);
    check(
        "g",
        6,
        &[
            (
                "t1 is paid: 92.00 USD for 1,000 credits and 50 bonus",
                buy("t1", "a", "pri_1050", "92.00"),
                ["1050", "0", "0"],
            ),
            ("37.39 is charged back", chargeback("d1", "37.39"), ["623.266304", "0", "0"]),
            ("25.33 is charged back", chargeback("d2", "25.33"), ["334.173913", "0", "0"]),
            ("85.99 is charged back", chargeback("d3", "85.99"), ["0", "0", "0"]),
            ("85.99 comes back", moved("b1", "t1", Back, Final, "85.99", 2), ["334.173913", "0", "0"]),
            ("80.00 is charged back", chargeback("d4", "80.00"), ["0", "0", "0"]),
            (
                "It comes back in full, as 79.20",
                lines::in_full(moved("b2", "t1", Back, Final, "79.20", 3)),
                ["334.173913", "0", "0"],
            ),
        ],
    );
}

fn nothing_fully_refunded_is_spendable_again() {
    check(
        "e",
        6,
        &[
            (
                "t1 is paid: 10.00 USD for 1,000 credits",
                buy("t1", "a", "pri_1000", "10.00"),
                ["1000", "0", "0"],
            ),
            (
                "t2 is paid: 10.00 USD for 1,000 credits",
                buy("t2", "a", "pri_1000", "10.00"),
                ["2000", "0", "0"],
            ),
            ("300 credits are used", usage("a", 300), ["1700", "0", "0"]),
            (
                "t1 is charged back: 10.00 of 10.00",
                moved("d1", "t1", Chargeback, Final, "10.00", 1),
                ["700", "0", "0"],
            ),
            (
                "t2 is refunded: 10.00 of 10.00",
                moved("r1", "t2", Refund, Final, "10.00", 2),
                ["0", "0", "300"],
            ),
            ("500 credits are granted", grant("a", 500), ["200", "0", "0"]),
            ("The chargeback of t1 is won", moved("b1", "t1", Back, Final, "10.00", 3), ["1200", "0", "0"]),
        ],
    );
}
