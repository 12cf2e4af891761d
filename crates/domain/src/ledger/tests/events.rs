//! What each event says, to the byte: subscribers read it and hash it. `REWRITE_SNAPSHOTS=1` writes `events.txt` anew; read the
//! difference before committing it.

use super::*;
use crate::fact::{Adjustment, AdjustmentKind, Assignment, AssignmentAct, Expiry, Grant};
use std::fmt::Write;
use std::path::PathBuf;

fn snapshot() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/ledger/tests/events.txt")
}

/// A world, and what its events say, one a line.
struct Listener {
    world: World,
    said: String,
    number: u32,
}

impl Listener {
    fn new(low: &[i64]) -> Self {
        let low = low.iter().copied().map(Credits::whole).collect();
        Self { world: World::by(Rules { low, ..rules() }), said: String::new(), number: 0 }
    }

    fn tell(&mut self, title: &str, fact: &Fact) {
        self.number += 1;
        writeln!(self.said, "# {title}").unwrap();
        let decision = self.world.tell(&self.number.to_string(), fact).unwrap();
        for event in decision.events {
            let account = event.account.as_ref().map_or("-", AccountId::as_str);
            let kind = event.kind().as_str();
            writeln!(self.said, "{account} {kind} {}", event.data_to_json()).unwrap();
        }
    }
}

fn used(account: &str, credits: i64, reference: Option<&str>) -> Fact {
    Fact::Usage(Usage {
        account: AccountId::new(account).unwrap(),
        credits: Credits::whole(credits),
        reference: reference.map(str::to_owned),
        description: Some("chat completion".to_owned()),
        ip: None,
        device: None,
    })
}

fn adjusted(account: &str, credits: i64, kind: AdjustmentKind) -> Fact {
    Fact::Adjustment(Adjustment {
        account: AccountId::new(account).unwrap(),
        credits: Credits::whole(credits),
        kind,
        reason: "counted twice".to_owned(),
        by: "ada".to_owned(),
    })
}

fn assigned(payment: &str, act: AssignmentAct, account: &str, credits: Option<i64>, minute: i64) -> Fact {
    Fact::Assignment(Assignment {
        by_todays_catalog: false,
        payment: txn(payment),
        act,
        account: Some(AccountId::new(account).unwrap()),
        credits: credits.map(Credits::whole),
        reason: "the buyer wrote".to_owned(),
        by: "ada".to_owned(),
        occurred_at: START + Duration::minutes(minute),
    })
}

fn bought(name: &str, price: &str, account: Option<&str>) -> Fact {
    let Fact::Payment(payment) = buy(name, "unused", price, "10.00") else { unreachable!() };
    let link = |account: &str| AccountLink {
        by_reference: false,
        account: AccountId::new(account).unwrap(),
        proof: LinkProof::Stated,
    };
    let items = vec![LineItem { line: Some("line_1".to_owned()), ..payment.items[0].clone() }];
    Fact::Payment(fact::Payment { account: account.map(link), items, ..payment })
}

fn hold(payment: &str, status: HoldStatus, amount: &str, minute: i64) -> Fact {
    Fact::Hold(fact::Hold {
        hold: "h1".to_owned(),
        payment: txn(payment),
        amount: usd(amount),
        status,
        occurred_at: START + Duration::minutes(minute),
    })
}

/// Payments, usage and money that goes back and forth.
fn of_payments() -> String {
    let mut heard = Listener::new(&[500]);
    heard.tell("paid, account unknown", &bought("t1", "pri_1050", None));
    heard.tell("paid, account known", &bought("t1", "pri_1050", Some("a")));
    heard.tell("paid, price unknown", &bought("t2", "pri_nobody_knows", Some("a")));
    heard.tell("used without a reference", &used("a", 100, None));
    heard.tell("held by the refund desk", &hold("t1", HoldStatus::Placed, "2.00", 1));
    heard.tell("released by the refund desk", &hold("t1", HoldStatus::Lifted, "2.00", 2));
    heard.tell("a refund is pending", &moved("r1", "t1", Refund, Pending, "1.00", 3));
    heard.tell("the refund is final", &moved("r1", "t1", Refund, Final, "1.00", 4));
    heard.tell("used below a threshold", &used("a", 600, Some("req_1")));
    heard.tell("used beyond what there is", &used("a", 1000, Some("req_2")));
    heard.tell("charged back", &moved("d1", "t1", Chargeback, Final, "9.00", 5));
    heard.tell("charged back and won", &moved("b1", "t1", Back, Final, "9.00", 6));
    heard.said
}

/// What operators, grants and time do.
fn of_acts() -> String {
    let mut heard = Listener::new(&[]);
    heard.tell("granted", &grant("a", 100));
    let Fact::Grant(given) = grant("a", 50) else { unreachable!() };
    let expires_at = Some(START + Duration::days(1));
    let given = Grant { kind: GrantKind::Goodwill, expires_at, ..given };
    heard.tell("granted for a day", &Fact::Grant(given));
    let account = AccountId::new("a").unwrap();
    heard.tell("a day later", &Fact::Expiry(Expiry { account, as_of: START + Duration::days(1) }));
    heard.tell("taken", &adjusted("a", -30, AdjustmentKind::Correction));
    heard.tell("taken beyond what there is", &adjusted("a", -100, AdjustmentKind::Correction));
    heard.tell("forgiven", &adjusted("a", 30, AdjustmentKind::WriteOff));
    heard.tell("given", &adjusted("a", 20, AdjustmentKind::Correction));
    heard.tell("paid", &bought("t1", "pri_1000", Some("a")));
    heard.tell("worth more", &assigned("t1", AssignmentAct::Deliver, "a", Some(1500), 1));
    heard.tell("used", &used("a", 1450, Some("req_1")));
    heard.tell("worth less", &assigned("t1", AssignmentAct::Deliver, "a", Some(1200), 2));
    heard.tell("moved", &assigned("t1", AssignmentAct::Move, "b", None, 3));
    heard.said
}

/// What was bought for a day.
fn of_terms() -> String {
    let mut heard = Listener::new(&[]);
    let mut catalog = heard.world.rules.catalogs[&heard.world.rules.current].clone();
    let price = catalog.prices.get_mut("paddle").and_then(|prices| prices.get_mut("pri_1050")).unwrap();
    price.expires_after_seconds = Some(24 * 60 * 60);
    heard.world.rules = Rules::new(catalog);
    heard.tell("paid for a day", &bought("t1", "pri_1050", Some("a")));
    heard.tell("a part is held", &hold("t1", HoldStatus::Placed, "2.00", 1));
    let account = AccountId::new("a").unwrap();
    heard.tell("a day later", &Fact::Expiry(Expiry { account, as_of: START + Duration::days(1) }));
    heard.tell("released", &hold("t1", HoldStatus::Lifted, "2.00", 2));
    heard.said
}

#[test]
fn every_event_says_the_same_to_the_byte() {
    let got = [of_payments(), of_acts(), of_terms()].join("\n");
    if std::env::var_os("REWRITE_SNAPSHOTS").is_some() {
        std::fs::write(snapshot(), &got).unwrap();
    }
    assert_eq!(std::fs::read_to_string(snapshot()).unwrap(), got, "events.txt is not what events say");
    for kind in EventKind::ALL {
        // Alerts, and what the disputes worker tells.
        let of_others = ["alert.", "account.", "dispute."];
        let is_of_others = of_others.iter().any(|noun| kind.as_str().starts_with(noun));
        let is_heard = got.contains(&format!(" {} ", kind.as_str()));
        assert_eq!(is_heard, !is_of_others, "{}", kind.as_str());
    }
}
