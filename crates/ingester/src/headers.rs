//! Headers of a request, read as text.

use crate::door::{Why, count};
use crate::problem::problem;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

/// The header as text; `None` if it is missing or is no text.
pub(crate) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// A header that decides whether a request is admitted. Of two the proxy in front might read one and this door the other.
///
/// # Errors
/// The answer to send: the header is there more than once.
#[expect(clippy::result_large_err, reason = "the error is the answer, and goes straight out")]
pub(crate) fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, Response> {
    if headers.get_all(name).iter().nth(1).is_some() {
        count("http", Why::Ambiguous);
        return Err(problem(
            StatusCode::BAD_REQUEST,
            format!("expected the header {name} once, got several"),
        ));
    }
    Ok(text(headers, name))
}
