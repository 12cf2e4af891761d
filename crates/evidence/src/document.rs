//! The pack as one JSON document for machines.

use crate::compelling::CompellingEvidence;
use crate::pack::Pack;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// Of the document's shape. Fields are added without a new one; a field never changes its meaning within one.
pub const SCHEMA: &str = "bursar.evidence/1";

const CONTENT_HASH: &str = "SHA-256 in hex over the bytes of the value of `content` as they stand in this document: JSON without spaces, \
     in UTF-8, fields in this order.";

/// In words, for whoever has only this document.
pub const HOW_TO_CHECK: [&str; 4] = [
    "Each transaction's hash is SHA-256 over the hash of the account's transaction before it (32 bytes), then these texts in UTF-8, \
     each followed by one zero byte: account, number, kind, source of the cause, id of the cause, payment (empty if none), time in \
     microseconds since 1970-01-01T00:00:00Z, and for each entry in order: book, lot (empty if none), amount.",
    "Before an account's first transaction the hash is 32 zero bytes.",
    "The amounts of a transaction's entries sum to zero.",
    "The operator's journal can only be added to. `bursar ledger verify` computes all hashes of an account anew and names each that \
     does not follow; a later export shows the same hashes.",
];

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    product: &'static str,
    product_version: &'a str,
    content_hash: &'static str,
    content_sha256: String,
    content: Box<RawValue>,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(flatten)]
    pack: &'a Pack,
    journal_proof: JournalProof,
    compelling_evidence_3: CompellingEvidence,
}

#[derive(Serialize)]
struct JournalProof {
    how_to_check: [&'static str; 4],
    /// Whether each transaction balances and its hash follows from its content.
    checked: Vec<Checked>,
}

#[derive(Serialize)]
struct Checked {
    number: u64,
    holds: bool,
}

impl Pack {
    /// One JSON document on one line, ended by a line feed. The same pack gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let content = serde_json::value::to_raw_value(&self.content()).expect(SERIALISES);
        let document = Document {
            schema: SCHEMA,
            product: "bursar",
            product_version: &self.product_version,
            content_hash: CONTENT_HASH,
            content_sha256: hex::encode(Sha256::digest(content.get())),
            content,
        };
        let mut bytes = serde_json::to_vec(&document).expect(SERIALISES);
        bytes.push(b'\n');
        bytes
    }

    /// SHA-256 over the content, as the JSON document states it.
    pub fn content_sha256(&self) -> [u8; 32] {
        Sha256::digest(serde_json::to_vec(&self.content()).expect(SERIALISES)).into()
    }

    fn content(&self) -> Content<'_> {
        let account = &self.customer.account;
        let checked = self.grant.transactions.iter();
        let checked = checked.map(|it| Checked { number: it.number, holds: it.holds(account) }).collect();
        Content {
            pack: self,
            journal_proof: JournalProof { how_to_check: HOW_TO_CHECK, checked },
            compelling_evidence_3: CompellingEvidence::of(self),
        }
    }
}

const SERIALISES: &str = "a pack holds texts, numbers and moments that can be told";
