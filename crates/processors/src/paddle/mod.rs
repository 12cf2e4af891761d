//! Paddle Billing: <https://developer.paddle.com/webhooks/about/overview>.

mod currencies;
mod entities;
mod translate;
mod verify;

use crate::processor::Processor;
use entities::NAME;

pub const PROCESSOR: Processor = Processor {
    name: NAME,
    signature_headers: &[verify::SCHEME.header],
    check_headers: verify::check_headers,
    verify: verify::verify,
    sign: verify::sign,
    translate: translate::translate,
};
