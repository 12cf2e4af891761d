//! Stripe's API: form-encoded questions, JSON answers. Branches on status, type and code, never on the message.
//! <https://docs.stripe.com/api>
//!
//! Keys of the API are settings of who sends ([`StripeSettings`](crate::StripeSettings)); nothing here knows one. Evidence is
//! uploaded to a host of its own.

mod answer;
mod dispute;
mod evidence;
mod file;
mod form;
mod refund;
#[cfg(test)]
mod tests;

pub use dispute::{
    BalanceRow, Dispute, DisputePage, DisputesOf, EvidenceDetails, close_dispute, list_disputes,
    read_dispute, read_dispute_change, read_disputes, retrieve_dispute, update_dispute,
};
pub use evidence::{
    Evidence, EvidenceField, EvidenceKind, FILES_BYTES_MAX, InvalidEvidence, TEXT_CHARACTERS_MAX,
    TEXTS_CHARACTERS_MAX,
};
pub use file::{UploadedFile, read_upload, upload_evidence};
pub use refund::{Refund, read_refund, retrieve_refund};

use crate::api::{IdempotencyKey, Method, Request};

/// Fixes the shape of answers, whatever the account's default is. <https://docs.stripe.com/api/versioning>
const VERSION: (&str, &str) = ("stripe-version", "2026-08-26.dahlia");

const CONTENT_TYPE: &str = "content-type";

fn get(path: String) -> Request {
    let headers = vec![(VERSION.0, VERSION.1.to_owned())];
    Request { method: Method::Get, path, headers, body: Vec::new(), idempotency_key: None }
}

fn post(path: String, content_type: String, body: Vec<u8>, key: &IdempotencyKey) -> Request {
    let headers = vec![(VERSION.0, VERSION.1.to_owned()), (CONTENT_TYPE, content_type)];
    let idempotency_key = Some(("idempotency-key", key.as_str().to_owned()));
    Request { method: Method::Post, path, headers, body, idempotency_key }
}

/// An id as a part of a path: nothing in it may lead elsewhere.
fn in_path(id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    id.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}
