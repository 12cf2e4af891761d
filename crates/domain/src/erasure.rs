//! Text that people wrote into facts, and what a fact says without it.
//!
//! A description, a reason, a refund request's words: somebody wrote them, perhaps about somebody, and no rule reads them.
//! They can be erased; identity, amounts and the account stand. Ids, references among them, are no such text: they are what
//! a fact is found by.

use crate::fact::{Fact, FactKind};

/// What stands where a text was.
pub const ERASED: &str = "[erased]";

/// The fields of a kind that hold such text. The function `without_texts` of the database says the same.
pub fn texts_of(kind: FactKind) -> &'static [&'static str] {
    match kind {
        FactKind::Usage => &["description"],
        FactKind::RefundRequest => &["transaction", "reason"],
        FactKind::Dispute
        | FactKind::Customer
        | FactKind::Grant
        | FactKind::Adjustment
        | FactKind::Assignment
        | FactKind::Valuation => &["reason"],
        FactKind::Payment
        | FactKind::Movement
        | FactKind::Hold
        | FactKind::Expiry
        | FactKind::Unrecognised => &[],
    }
}

impl Fact {
    /// The same fact with each of its texts erased. A text that is not there stays so.
    pub fn without_texts(mut self) -> Self {
        let erase = |text: &mut String| ERASED.clone_into(text);
        let erase_some = |text: &mut Option<String>| text.iter_mut().for_each(erase);
        match &mut self {
            Fact::Usage(usage) => erase_some(&mut usage.description),
            Fact::Grant(grant) => erase(&mut grant.reason),
            Fact::RefundRequest(request) => {
                erase(&mut request.transaction);
                erase_some(&mut request.reason);
            }
            Fact::Dispute(dispute) => erase_some(&mut dispute.reason),
            Fact::Customer(customer) => erase_some(&mut customer.reason),
            Fact::Adjustment(adjustment) => erase(&mut adjustment.reason),
            Fact::Assignment(assignment) => erase(&mut assignment.reason),
            Fact::Valuation(valuation) => erase(&mut valuation.reason),
            Fact::Payment(_)
            | Fact::Movement(_)
            | Fact::Hold(_)
            | Fact::Expiry(_)
            | Fact::Unrecognised(_) => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    /// Every kind with all of its texts, and each text once.
    #[test]
    fn every_text_of_every_kind_is_erased_and_nothing_else() {
        let at = r#""occurred_at":"2026-11-20T10:00:00Z""#;
        let usd = r#"{"amount":"9.70","currency":"USD"}"#;
        let check = |kind: FactKind, data: String| {
            let read = |text: &str| {
                let raw = RawValue::from_string(text.to_owned()).unwrap();
                Fact::parse(kind, &raw).unwrap()
            };
            let said = read(&data).without_texts().canonical().get().to_owned();
            let count = texts_of(kind).len();
            assert_eq!((said.matches(ERASED).count(), said.contains("words")), (count, false), "{said}");
            assert_eq!(said, read(&data.replace("words", ERASED)).canonical().get(), "nothing else changes");
        };
        check(
            FactKind::Usage,
            r#"{"account":"a","credits":"1","reference":"r","description":"words"}"#.into(),
        );
        check(FactKind::Grant, r#"{"account":"a","credits":"1","reason":"words","by":"ada"}"#.into());
        check(FactKind::RefundRequest, r#"{"transaction":"words","account":"a","reason":"words"}"#.into());
        check(
            FactKind::Dispute,
            format!(r#"{{"dispute":"d","payment":"paddle:t","status":"open","reason":"words",{at}}}"#),
        );
        check(FactKind::Customer, format!(r#"{{"customer":"paddle:ctm_1","reason":"words",{at}}}"#));
        check(FactKind::Adjustment, r#"{"account":"a","credits":"1","reason":"words","by":"ada"}"#.into());
        check(
            FactKind::Assignment,
            format!(r#"{{"payment":"paddle:t","act":"deliver","reason":"words","by":"ada",{at}}}"#),
        );
        check(
            FactKind::Valuation,
            format!(
                r#"{{"payment":"paddle:t","movement":"m","amount":{usd},"reason":"words","by":"ada",{at}}}"#
            ),
        );
        check(FactKind::Expiry, r#"{"account":"a","as_of":"2026-11-20T10:00:00Z"}"#.into());
    }
}
