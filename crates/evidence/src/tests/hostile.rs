//! Packs that nobody should fill, and somebody will.

use super::worked;
use crate::pack::*;
use domain::journal::{Book, Entry};
use domain::{Credits, Money, PaymentId};
use time::Duration;

/// Texts that break layouts and readers.
pub const TEXTS: [&str; 12] = [
    "",
    "\u{0}\u{1}\u{7f}\u{9b}\r\n\t",
    "\u{202E}right to left\u{202C} \u{2066}isolate\u{2069}",
    "zero\u{200B}width\u{200D}joined\u{FEFF}",
    "שלום עולם مرحبا بالعالم",
    "😀👩‍👩‍👧‍👦🏳️‍🌈",
    "王小明 山田太郎 김철수 髙橋﨑",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    "\u{E000}\u{10FFFF}\u{FFFE}\u{FFFF}",
    "(((((\\)))) <</Type /Page>> endobj %PDF ]]> <script>",
    "\u{3000}\u{A0}\u{2028}\u{2029}",
    "กขฃคฅ नमस्ते ไทย",
];

/// Long, without a place to break.
pub fn endless(length: usize) -> String {
    "W".repeat(length)
}

/// Each of the ideographs, each once: as much of the font as there is.
pub fn all_ideographs() -> String {
    ('\u{4E00}'..='\u{9FFF}').chain('\u{AC00}'..='\u{D7A3}').collect()
}

/// Every list long, every text 300 characters; 10,000 days of use.
pub fn huge() -> Pack {
    let mut pack = filled(&|index| format!("{index} {}", "name ".repeat(60)), 150);
    let day = UsageDay {
        references: vec!["name ".repeat(60)],
        ips: vec![],
        devices: vec![],
        ..pack.usage.days[0].clone()
    };
    pack.usage.days = vec![day; 10_000];
    pack.usage.days_left_out = 12_345;
    pack.earlier.left_out = 7;
    pack
}

/// Hostile texts wherever there is text.
pub fn texts() -> Pack {
    filled(
        &|index| format!("{}{}", TEXTS[index % TEXTS.len()], TEXTS[index / TEXTS.len() % TEXTS.len()]),
        200,
    )
}

/// The worked pack with so many rows in each list, and this text wherever a text may be anything.
pub fn filled(text: &dyn Fn(usize) -> String, rows: usize) -> Pack {
    let mut pack = worked::pack();
    let some = |index| Some(text(index));
    let many = |index: usize| (0..4).map(|number| text(index + number)).collect::<Vec<_>>();
    pack.product_version = text(1);
    pack.seller = some(2);
    let dispute = &mut pack.dispute;
    (dispute.id, dispute.state) = (text(3), text(4));
    (dispute.processor_status, dispute.reason) = (some(5), some(6));
    (dispute.network, dispute.network_reason_code) = (Some("visa".to_owned()), some(7));
    let longest: PaymentId = format!("stripe:{}", "i".repeat(190)).parse().unwrap();
    let all = References {
        ip: some(8),
        device: some(9),
        email: some(10),
        shipping_address: some(11),
        payment_method: some(12),
    };
    pack.purchase.aliases = vec![longest.clone(); 8];
    pack.purchase.description = some(13);
    pack.purchase.references = all.clone();
    pack.purchase.items = (0..rows)
        .map(|index| Item {
            price: text(index),
            name: some(index + 1),
            quantity: u64::MAX,
            amount: Some(largest()),
            credits: Some(Credits::whole(999_999_999_999_999)),
        })
        .collect();
    (pack.customer.name, pack.customer.email, pack.customer.link) = (some(14), some(15), some(16));
    let first = pack.grant.transactions[0].clone();
    let entry = Entry { book: Book::Consumed, lot: some(17), amount: -Credits::whole(999_999_999_999_999) };
    pack.grant.transactions =
        (0..rows).map(|_| Proof { entries: vec![entry.clone(); 20], ..first.clone() }).collect();
    pack.grant.transactions_left_out = u64::MAX;
    pack.usage.days = (0..rows)
        .map(|index| UsageDay {
            day: time::Date::MIN + Duration::days(index as i64),
            count: u64::MAX,
            credits: Credits::whole(999_999_999_999_999),
            references: many(index),
            references_left_out: 1_000_000,
            ips: many(index),
            devices: many(index),
        })
        .collect();
    pack.balance = (0..rows)
        .map(|index| BalancePoint {
            at: pack.purchase.at + Duration::minutes(index as i64),
            available: Credits::whole(index as i64 * 7919 % 1000),
            held: Credits::whole(index as i64 * 104_729 % 1000),
            debt: Credits::whole(index as i64 % 11),
        })
        .collect();
    let description = some(18);
    let earlier = EarlierPayment {
        payment: longest,
        references: all,
        description,
        ..worked::earlier("1", pack.purchase.at)
    };
    pack.earlier.payments = vec![earlier; rows];
    let at = pack.as_of;
    pack.refunds = (0..rows)
        .map(|index| Refund {
            at,
            state: text(index),
            amount: Some(largest()),
            reference: some(index + 1),
            note: some(index + 2),
        })
        .collect();
    pack.restrictions = (0..rows)
        .map(|index| Restriction { kind: text(index), cause: text(index + 1), since: at, until: None })
        .collect();
    pack.notifications = (0..rows)
        .map(|index| Notification {
            at,
            channel: text(index),
            what: text(index + 1),
            reference: some(index + 2),
            outcome: some(index + 3),
        })
        .collect();
    pack.overlap = Some(Overlap {
        movements: (0..rows)
            .map(|index| Movement {
                at,
                id: text(index),
                kind: text(index + 1),
                amount: largest(),
                status: text(index + 2),
            })
            .collect(),
        paid_twice: Some(largest()),
        fees: Some(largest()),
        note: text(19),
    });
    pack.timeline = (0..rows)
        .map(|index| Step {
            at,
            who: text(index),
            what: text(index + 1),
            credits: some(index + 2),
            standing: some(index + 3),
        })
        .collect();
    let lines: Vec<String> = (0..rows).map(text).collect();
    pack.policy = Some(Policy { version: some(20), text: lines.join("\n"), disclosure: some(21) });
    pack.economics = lines;
    pack
}

fn largest() -> Money {
    Money::from_minor(domain::money::MINOR_UNITS_MAX, 2, worked::usd(1).currency()).unwrap()
}
