//! A dispute from the purchase to the answer: bought, half used, charged back as fraud although the customer had bought before.

use crate::pack::*;
use domain::journal::{Book, Entry, GENESIS, Hash, Transaction, TransactionKind};
use domain::money::currency;
use domain::{AccountId, Cause, Credits, Money, PaymentId};
use time::macros::{date, datetime};
use time::{Duration, OffsetDateTime};

pub fn usd(cents: i128) -> Money {
    Money::from_minor(cents, 2, currency("USD").unwrap()).unwrap()
}

pub fn payment(id: &str) -> PaymentId {
    PaymentId::new("stripe", id).unwrap()
}

pub fn references() -> References {
    References {
        ip: Some("hmac-sha256:6f0c3b1d9e2a47588d5e7c0a41b2f6930e1d2c3b4a5968778695a4b3c2d1e0f1".to_owned()),
        device: Some(
            "hmac-sha256:b81d4c2e7f3a90655a4b3c2d1e0f19283746556473829100a1b2c3d4e5f60718".to_owned(),
        ),
        email: Some("1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f".to_owned()),
        shipping_address: None,
        payment_method: Some("fp_Jx2c9vQ0sLrT".to_owned()),
    }
}

pub fn earlier(id: &str, at: OffsetDateTime) -> EarlierPayment {
    EarlierPayment {
        payment: payment(&format!("pi_{id}")),
        aliases: vec![payment(&format!("ch_{id}"))],
        at,
        amount: usd(2900),
        description: Some("500 transcription credits".to_owned()),
        references: references(),
    }
}

/// Adds transactions as the ledger does: numbered and chained.
struct Journal {
    account: AccountId,
    payment: PaymentId,
    number: u64,
    head: Hash,
    proofs: Vec<Proof>,
}

impl Journal {
    fn add(
        &mut self,
        kind: TransactionKind,
        cause: &str,
        at: OffsetDateTime,
        from: Book,
        to: Book,
        credits: i64,
    ) {
        let lot = Some(format!("{}#purchase", self.payment));
        let entry = |book, amount| Entry { book, lot: lot.clone(), amount: Credits::whole(amount) };
        self.number += 1;
        let mut transaction = Transaction {
            account: self.account.clone(),
            number: self.number,
            kind,
            cause: Cause { source: "stripe".to_owned(), id: cause.to_owned() },
            payment: Some(self.payment.clone()),
            at,
            entries: vec![entry(from, -credits), entry(to, credits)],
            hash: GENESIS,
        };
        transaction.hash = transaction.chained_hash(&self.head);
        let previous = std::mem::replace(&mut self.head, transaction.hash);
        self.proofs.push(Proof::new(transaction, previous));
    }
}

pub fn pack() -> Pack {
    let bought = datetime!(2026-09-03 10:02:07 UTC);
    let opened = datetime!(2026-10-21 06:14:33 UTC);
    let account = AccountId::new("acct_42").unwrap();
    let mut journal = Journal {
        account: account.clone(),
        payment: payment("pi_3QxW7dA1"),
        number: 57,
        head: [0x5a; 32],
        proofs: Vec::new(),
    };
    use TransactionKind::{Grant as Granted, Reversal};
    let delivered = bought + Duration::seconds(3);
    journal.add(Granted, "evt_1QxW8", delivered, Book::Issued, Book::Available, 1000);
    journal.number += 431;
    journal.head = [0x7b; 32];
    journal.add(Reversal, "evt_1QzK2", opened + Duration::seconds(2), Book::Available, Book::Reversed, 388);
    journal.add(Reversal, "evt_1QzK2", opened + Duration::seconds(2), Book::Consumed, Book::Reversed, 612);
    let days = days();
    let mut balance = vec![point(bought - Duration::days(30), 40, 0, 0), point(delivered, 1040, 0, 0)];
    let mut left = 1040;
    for (index, used) in days.iter().enumerate() {
        left -= used.credits.to_string().parse::<i64>().unwrap();
        let at = used.day.with_hms(20, 0, 0).unwrap().assume_utc();
        balance.push(point(at + Duration::minutes(index as i64), left, 0, 0));
    }
    balance.push(point(opened - Duration::days(3), 0, left, 0));
    balance.push(point(opened + Duration::seconds(2), 0, 0, 572));
    Pack {
        product_version: "0.1.0".to_owned(),
        seller: Some("Example Transcripts Ltd".to_owned()),
        as_of: datetime!(2026-10-22 08:00:00 UTC),
        dispute: Dispute {
            id: "du_1QzK2bA1XyZ".to_owned(),
            processor: "stripe".parse().unwrap(),
            state: "open".to_owned(),
            processor_status: Some("needs_response".to_owned()),
            reason: Some("fraudulent".to_owned()),
            network: Some("visa".to_owned()),
            network_reason_code: Some("10.4".to_owned()),
            amount: Some(usd(4900)),
            opened_at: opened,
            due_by: Some(datetime!(2026-11-04 23:59:59 UTC)),
        },
        purchase: Purchase {
            payment: payment("pi_3QxW7dA1"),
            aliases: vec![payment("ch_3QxW7dA1"), payment("cs_live_a1B2c3")],
            amount: usd(4900),
            at: bought,
            items: vec![Item {
                price: "price_1000".to_owned(),
                name: Some("1,000 transcription credits".to_owned()),
                quantity: 1,
                amount: Some(usd(4900)),
                credits: Some(Credits::whole(1000)),
            }],
            description: Some("1,000 transcription credits".to_owned()),
            is_one_off: true,
            references: references(),
        },
        customer: Customer {
            account,
            link: Some("metadata set by the seller's server".to_owned()),
            customer: Some("stripe:cus_Qw8".parse().unwrap()),
            name: Some("王小明 (Wang Xiaoming)".to_owned()),
            email: None,
            since: Some(datetime!(2025-12-11 17:20:00 UTC)),
        },
        grant: Grant {
            credits: Credits::whole(1000),
            at: Some(delivered),
            consumed: Credits::whole(612),
            remaining: Credits::ZERO,
            held: Credits::ZERO,
            reversed: Credits::whole(1000),
            expired: Credits::ZERO,
            head: Some(Head { number: journal.number, hash: journal.head }),
            transactions: journal.proofs,
            transactions_left_out: 0,
        },
        usage: Usage {
            count: days.iter().map(|day| day.count).sum(),
            credits: days.iter().map(|day| day.credits).sum(),
            first_at: Some(datetime!(2026-09-03 10:31:40 UTC)),
            last_at: Some(datetime!(2026-10-18 19:58:02 UTC)),
            days,
            days_left_out: 0,
        },
        balance,
        earlier: EarlierPayments {
            payments: vec![
                earlier("1Aaa", datetime!(2025-12-11 17:20:00 UTC)),
                earlier("2Bbb", datetime!(2026-03-02 09:10:00 UTC)),
                earlier("3Ccc", datetime!(2026-07-15 12:00:00 UTC)),
            ],
            left_out: 0,
        },
        refunds: vec![],
        restrictions: vec![restriction("access"), restriction("checkout")],
        notifications: vec![Notification {
            at: delivered + Duration::minutes(1),
            channel: "mail".to_owned(),
            what: "Your 1,000 credits are ready".to_owned(),
            reference: Some("msg_8812".to_owned()),
            outcome: Some("delivered".to_owned()),
        }],
        overlap: None,
        timeline: timeline(bought, opened),
        policy: Some(Policy {
            version: Some("2026-01".to_owned()),
            text: "Unused credits can be refunded within 14 days of the purchase. Credits that were used are not refunded.".to_owned(),
            disclosure: Some("Shown above the button at checkout, with a box that the buyer ticked.".to_owned()),
        }),
        economics: vec!["Contesting risks a fee of 15.00 USD; of 9 disputes 4 were won, too few to tell.".to_owned()],
    }
}

fn point(at: OffsetDateTime, available: i64, held: i64, debt: i64) -> BalancePoint {
    let [available, held, debt] = [available, held, debt].map(Credits::whole);
    BalancePoint { at, available, held, debt }
}

fn restriction(kind: &str) -> Restriction {
    Restriction {
        kind: kind.to_owned(),
        cause: "dispute du_1QzK2bA1XyZ".to_owned(),
        since: datetime!(2026-10-21 06:14:35 UTC),
        until: None,
    }
}

/// Twelve days that make 431 uses of 612 credits.
fn days() -> Vec<UsageDay> {
    let uses = [
        (0, 21, 30),
        (1, 44, 61),
        (2, 12, 17),
        (5, 60, 88),
        (9, 38, 55),
        (14, 51, 70),
        (15, 29, 41),
        (22, 40, 57),
        (28, 33, 49),
        (35, 47, 66),
        (41, 31, 43),
        (45, 25, 35),
    ];
    uses.iter()
        .map(|(after, count, credits)| UsageDay {
            day: date!(2026 - 09 - 03) + Duration::days(*after),
            count: *count,
            credits: Credits::whole(*credits),
            references: (1..=3).map(|number| format!("job_{after:02}{number:03}")).collect(),
            references_left_out: count - 3,
            ips: references().ip.into_iter().collect(),
            devices: references().device.into_iter().collect(),
        })
        .collect()
}

fn timeline(bought: OffsetDateTime, opened: OffsetDateTime) -> Vec<Step> {
    let step = |at, who: &str, what: &str, credits: Option<&str>, standing: Option<&str>| Step {
        at,
        who: who.to_owned(),
        what: what.to_owned(),
        credits: credits.map(str::to_owned),
        standing: standing.map(str::to_owned),
    };
    vec![
        step(bought, "stripe", "Payment of 49.00 USD succeeded", None, None),
        step(bought + Duration::seconds(3), "bursar", "Credits delivered", Some("1,000 granted"), None),
        step(opened, "stripe", "Dispute opened: fraudulent, needs response", None, None),
        step(
            opened + Duration::seconds(2),
            "bursar",
            "Funds were withdrawn",
            Some("1,000 reversed, of which 572 are debt now"),
            Some("access and checkout restricted"),
        ),
        step(
            opened + Duration::hours(3),
            "operator/jane",
            "Note: customer wrote that the card is his",
            None,
            None,
        ),
    ]
}
