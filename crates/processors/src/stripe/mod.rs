//! Stripe: <https://docs.stripe.com/webhooks>.

pub mod api;
mod currencies;
mod objects;
mod translate;
mod verify;

use crate::processor::Processor;
use objects::NAME;

pub const PROCESSOR: Processor = Processor {
    name: NAME,
    signature_headers: &[verify::SCHEME.header],
    check_headers: verify::check_headers,
    verify: verify::verify,
    sign: verify::sign,
    translate: translate::translate,
};
