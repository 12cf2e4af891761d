//! Bearer tokens: stored hashed, compared in constant time, each with its scopes and the facts it may state.

use domain::FactKind;
use facts::rights;
use processors::{InvalidPattern, SourcePattern, Speaker};
use sha2::{Digest, Sha256};
use std::str::FromStr;
use subtle::ConstantTimeEq;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Facts,
    AccountsRead,
    RefundsRequest,
}

impl Scope {
    pub const ALL: [Scope; 3] = [Scope::Facts, Scope::AccountsRead, Scope::RefundsRequest];

    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Facts => "facts",
            Scope::AccountsRead => "accounts:read",
            Scope::RefundsRequest => "refunds:request",
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let known = Self::ALL.map(Scope::as_str).join(", ");
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| {
            // Not the text itself: an operator may have written the token where its hash belongs.
            InvalidToken(format!("expected a scope of {known}, got something else"))
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidToken(String);

/// What a platform's service may do. The token itself is not known, only its hash.
#[derive(Debug, Clone)]
pub struct Token {
    pub name: String,
    hash: [u8; 32],
    pub scopes: Vec<Scope>,
    pub facts: Vec<FactKind>,
    /// Under which sources alone it may state them; none given: those that nobody is bound to.
    pub sources: Vec<SourcePattern>,
}

impl Token {
    /// `hash`: 64 hexadecimal digits, the SHA-256 of the token.
    ///
    /// # Errors
    /// [`InvalidToken`]: a name, a hash or scopes that cannot be those of a token.
    pub fn new(
        name: &str,
        hash: &str,
        scopes: Vec<Scope>,
        facts: Option<Vec<FactKind>>,
    ) -> Result<Self, InvalidToken> {
        let bytes = hex::decode(hash).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let hash = bytes.ok_or_else(|| {
            InvalidToken(format!(
                "token {name:?}: expected the SHA-256 of the token as 64 hexadecimal digits"
            ))
        })?;
        let open_to_all = || FactKind::ALL.into_iter().filter(|kind| kind.is_open_to_all()).collect();
        let facts = facts.unwrap_or_else(open_to_all);
        if let Some(kind) = rights::money_among(&facts) {
            return Err(InvalidToken(format!("token {name:?}: no token may state {kind}")));
        }
        Ok(Self { name: name.to_owned(), hash, scopes, facts, sources: Vec::new() })
    }

    /// It, bound to these sources.
    pub fn with_sources(self, sources: Vec<SourcePattern>) -> Self {
        Self { sources, ..self }
    }

    pub fn speaker(&self) -> Speaker {
        Speaker::Token(self.name.clone())
    }

    /// The form of `BURSAR_API_TOKENS`: `<name>:<scope>[+<scope>...]:<SHA-256 of the token in hex>[@<source>[|<source>...]]`.
    ///
    /// # Errors
    /// [`InvalidToken`]: a text that has not this form.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let form = || {
            InvalidToken(
                "expected <name>:<scope>[+<scope>]:<SHA-256 in hex>[@<source>[|<source>]]; make one with `bursar token`"
                    .to_owned(),
            )
        };
        let (name, rest) = text.split_once(':').ok_or_else(form)?;
        // Neither a scope nor a hash has such a sign.
        let (rest, sources) =
            rest.split_once('@').map_or((rest, None), |(rest, sources)| (rest, Some(sources)));
        // A scope has a colon of its own, a hash has none.
        let (scopes, hash) = rest.rsplit_once(':').ok_or_else(form)?;
        let scopes = scopes.split('+').map(str::parse).collect::<Result<_, _>>()?;
        let sources = sources.into_iter().flat_map(|sources| sources.split('|')).map(str::parse);
        let sources: Result<_, InvalidPattern> = sources.collect();
        let sources = sources.map_err(|error| InvalidToken(format!("token {name:?}: {error}")))?;
        Ok(Self::new(name, hash, scopes, None)?.with_sources(sources))
    }
}

/// The SHA-256 of a token in hexadecimal digits, as the configuration keeps it.
pub fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

#[derive(Debug, Clone, Default)]
pub struct Tokens(pub Vec<Token>);

impl Tokens {
    /// The token that an `Authorization` header bears. Every token is compared, whichever matches.
    pub fn bearer(&self, authorization: Option<&str>) -> Option<&Token> {
        let (scheme, bearer) = authorization?.split_once(' ')?;
        let bearer = bearer.trim();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let hash: [u8; 32] = Sha256::digest(bearer.as_bytes()).into();
        self.0.iter().fold(None, |found, token| match bool::from(token.hash.ct_eq(&hash)) {
            true => Some(token),
            false => found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_and_limited_to_its_scopes() {
        let text = format!("gateway:facts+accounts:read:{}", hash("secret"));
        let tokens = Tokens(vec![Token::parse(&text).unwrap()]);
        let token = tokens.bearer(Some("Bearer secret")).unwrap();
        assert_eq!(
            (token.name.as_str(), &token.scopes[..]),
            ("gateway", &[Scope::Facts, Scope::AccountsRead][..])
        );
        for wrong in [None, Some("secret"), Some("Bearer "), Some("Bearer other"), Some("Basic secret")] {
            assert!(tokens.bearer(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_tokens_sources_stand_behind_its_hash() {
        let parse =
            |sources: &str| Token::parse(&format!("gateway:facts+accounts:read:{}{sources}", hash("secret")));
        assert!(parse("").unwrap().sources.is_empty());
        assert_eq!(parse("@gateway/*|urn:shop:1").unwrap().sources.len(), 2);
        for wrong in ["@", "@gate*", "@gateway/*|", "@paddle", "@a@b*"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains("token \"gateway\": expected a source such as"), "{wrong}: {error}");
        }
    }

    #[test]
    fn no_part_of_a_token_is_told_where_a_scope_is_expected() {
        for wrong in ["hush:hush:00", "a:hush:00", "a:facts+hush:00", "a:hush:hush@gateway"] {
            let error = Token::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("expected a scope of facts,") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_token_that_is_written_wrong_is_refused() {
        for wrong in ["", "a", "a:facts", "a:facts:zz", "a:everything:00", &format!("a::{}", hash("x"))] {
            assert!(Token::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Token::new("a", &hash("x"), vec![Scope::Facts], Some(vec![FactKind::Payment])).is_err());
    }
}
