//! Requests with a bearer token, and the scopes that it has. Unknown tokens are counted by address, so that guessing costs.
//!
//! A known token is admitted however many unknown ones came from its address: a client that shares a proxy with an attacker
//! is not locked out. An address that sends too many is answered with 429 and loses its connection with each further one.

use crate::door::{Caller, Why, count};
use crate::headers::single;
use crate::problem::{problem, problem_later};
use crate::tokens::{Scope, Token, Tokens};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are counted apart; further ones are counted together until the oldest have expired.
const ADDRESSES_MAX: usize = 4096;

pub struct Access {
    tokens: Tokens,
    failures: Failures,
}

impl Access {
    /// `failed_tokens`: unknown tokens from one address in a minute before it is answered with 429.
    pub fn new(tokens: Tokens, failed_tokens: u32) -> Self {
        Self { tokens, failures: Failures { max: failed_tokens, seen: Mutex::default() } }
    }

    /// The token that a request bears, if it has the scope. Called before any body is read.
    ///
    /// # Errors
    /// The answer to send: the token is unknown or has not the scope, or its address has sent too many unknown ones.
    #[expect(clippy::result_large_err, reason = "the error is the answer, and goes straight out")]
    pub fn admit(
        &self,
        headers: &HeaderMap,
        caller: Option<&Caller>,
        scope: Scope,
    ) -> Result<&Token, Response> {
        let authorization = single(headers, header::AUTHORIZATION.as_str())?;
        let Some(token) = self.tokens.bearer(authorization.as_deref()) else {
            return Err(self.unknown(caller));
        };
        match token.scopes.contains(&scope) {
            true => Ok(token),
            false => Err(problem(
                StatusCode::FORBIDDEN,
                format!("this token has not the scope {}", scope.as_str()),
            )),
        }
    }

    fn unknown(&self, caller: Option<&Caller>) -> Response {
        let address = caller.map_or(Ipv6Addr::UNSPECIFIED.into(), |caller| caller.address);
        let Some(wait) = self.failures.note(address, Instant::now()) else {
            let detail = "expected a known bearer token in the header Authorization";
            return problem(StatusCode::UNAUTHORIZED, detail.to_owned());
        };
        count("http", Why::Tokens);
        let detail = "too many unknown tokens from this address: wait, or bear a known one";
        let mut answer = problem_later(StatusCode::TOO_MANY_REQUESTS, detail.to_owned(), wait);
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    }
}

/// How many unknown tokens each address has sent within its minute.
struct Failures {
    max: u32,
    seen: Mutex<HashMap<IpAddr, FailedTokens>>,
}

struct FailedTokens {
    since: Instant,
    times: u32,
}

impl Failures {
    /// Counts one more; where it is one too many, how long to wait.
    fn note(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= ADDRESSES_MAX && !seen.contains_key(&address) {
            seen.retain(|_, failed| now < failed.since + WINDOW);
        }
        let is_full = seen.len() >= ADDRESSES_MAX && !seen.contains_key(&address);
        let address = if is_full { Ipv6Addr::UNSPECIFIED.into() } else { address };
        let failed = seen.entry(address).or_insert(FailedTokens { since: now, times: 0 });
        if now >= failed.since + WINDOW {
            *failed = FailedTokens { since: now, times: 0 };
        }
        failed.times = failed.times.saturating_add(1);
        if failed.times == self.max.saturating_add(1) {
            tracing::warn!(%address, "too many unknown tokens: further ones of this minute are answered with 429");
        }
        (failed.times > self.max).then(|| failed.since + WINDOW - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_address_and_forgotten_after_their_minute() {
        let failures = Failures { max: 2, seen: Mutex::default() };
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(failures.note(one, now), None);
        assert_eq!(failures.note(one, later(1)), None);
        assert_eq!(failures.note(one, later(20)), Some(Duration::from_secs(40)));
        assert_eq!(failures.note(other, later(20)), None);
        assert_eq!(failures.note(one, later(60)), None);
    }

    #[test]
    fn however_many_addresses_try_memory_is_bounded() {
        let failures = Failures { max: 20, seen: Mutex::default() };
        let now = Instant::now();
        for bits in 0..10_000_u32 {
            failures.note(IpAddr::V4(bits.into()), now);
        }
        assert!(failures.seen.lock().unwrap().len() <= ADDRESSES_MAX + 1);
        let overflowing = IpAddr::V4(20_000.into());
        assert!(failures.note(overflowing, now).is_some(), "those beyond count together");
        assert_eq!(failures.note(overflowing, now + WINDOW), None);
    }
}
