//! `generic`: a processor that speaks Bursar's own facts, for whatever has no folder here. Its adapter sends them as
//! CloudEvents, signed as Standard Webhooks.

mod translate;
mod verify;

use crate::processor::Processor;
use translate::NAME;

pub const PROCESSOR: Processor = Processor {
    name: NAME,
    signature_headers: &[verify::ID, verify::TIMESTAMP, verify::SIGNATURE],
    check_headers: verify::check_headers,
    verify: verify::verify,
    sign: verify::sign,
    translate: translate::translate,
};
