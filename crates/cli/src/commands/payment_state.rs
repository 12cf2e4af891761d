//! The state of a payment as it is printed, and what an undelivered one lacks.

use crate::output::table::Style;
use domain::ledger::PaymentState;
use ledger::read::{PaymentView, WhyUndelivered};

pub fn state_text(view: &PaymentView) -> String {
    let state = &view.line.state;
    match view.why_undelivered {
        Some(why) => Style::Bad.paint(&format!("{state}: {}", what_is_missing(why))),
        None if *state == PaymentState::Shell.as_str() => {
            format!("{state}: no fact says yet that it was paid")
        }
        None => state.clone(),
    }
}

fn what_is_missing(why: WhyUndelivered) -> &'static str {
    match why {
        WhyUndelivered::AccountUnknown => "nothing names its account, and its customer is linked to none",
        WhyUndelivered::AccountContradicted => "its facts name different accounts",
        WhyUndelivered::PriceUnknown => "neither the catalog nor a rate tells what it grants",
        WhyUndelivered::NotAPurchaseOfCredits => {
            "a rate would tell what it grants, but nothing says that credits were bought"
        }
        WhyUndelivered::AmountNoMultiple => {
            "what it cost is no such multiple of what the catalog says one unit costs"
        }
    }
}
