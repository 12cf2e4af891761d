//! Files that evidence is made of: <https://docs.stripe.com/file-upload>. They go to the files' host
//! ([`StripeSettings::files_url`](crate::StripeSettings::files_url)), and cannot be deleted there.

use super::{answer, post};
use crate::api::{ApiAnswer, IdempotencyKey, RawAnswer, Request};
use serde::Deserialize;
use sha2::{Digest, Sha256};

const NAME_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UploadedFile {
    /// What a field of evidence names: `file_...`.
    pub id: String,
    pub purpose: Option<String>,
    /// In bytes, as it arrived.
    pub size: Option<u64>,
}

/// Uploads a PDF as evidence. Of the name, which the bank sees, whatever is not plain becomes `_`.
pub fn upload_evidence(pdf: &[u8], name: &str, key: &IdempotencyKey) -> Request {
    let boundary = boundary(pdf);
    let mut body = Vec::with_capacity(pdf.len() + 512);
    body.extend_from_slice(
        format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\ndispute_evidence\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
             content-type: application/pdf\r\n\r\n",
            plain_name(name)
        )
        .as_bytes(),
    );
    body.extend_from_slice(pdf);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let content_type = format!("multipart/form-data; boundary={boundary}");
    post("/v1/files".to_owned(), content_type, body, key)
}

/// Reads the answer to [`upload_evidence`].
pub fn read_upload(answer: RawAnswer<'_>) -> ApiAnswer<UploadedFile> {
    answer::read_change(answer)
}

/// The same for the same bytes, as all of a call that is sent again must be, and nowhere in them.
fn boundary(pdf: &[u8]) -> String {
    let mut hash = Sha256::digest(pdf);
    loop {
        let boundary = format!("bursar-{}", hex::encode(&hash[..16]));
        if !pdf.windows(boundary.len()).any(|bytes| bytes == boundary.as_bytes()) {
            return boundary;
        }
        hash = Sha256::digest(hash);
    }
}

fn plain_name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let plain: String = name.chars().take(NAME_MAX).map(|c| if is_plain(c) { c } else { '_' }).collect();
    if plain.is_empty() { "evidence.pdf".to_owned() } else { plain }
}
