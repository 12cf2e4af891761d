//! Who may speak under which source. A fact's identity is its source and id, so a publisher that uses another's source can
//! take an event's id before it comes: the real one would then be a repeat, or a conflict.
//!
//! Rights are exact: a pattern matches a source as it is written. Protection is wide: a source that only looks like a
//! protected one (other capitals, slashes, escapes or letters) is refused to everybody else, too, for people read it.

use domain::settings::InvalidSetting;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use unicode_normalization::UnicodeNormalization;

/// Sources of the fleet's own, beside the processors' names.
const OWN: [&str; 2] = ["bursar", "operator"];

/// Whether a fact's source is one that only the fleet itself may use: a processor's name, Bursar's or an operator's, or what
/// looks like one.
pub fn is_reserved_source(source: &str) -> bool {
    let normal = normal(source);
    let first = normal.split('/').next().unwrap_or("");
    // Nothing readable is left of it: it names no publisher.
    first.is_empty() || OWN.contains(&first) || crate::list::find(first).is_some()
}

/// Who states facts that no processor's signature vouches for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Speaker {
    /// By the name of the broker's user.
    Publisher(String),
    /// By the token's name.
    Token(String),
}

impl fmt::Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Speaker::Publisher(name) => write!(f, "publisher {name:?}"),
            Speaker::Token(name) => write!(f, "token {name:?}"),
        }
    }
}

/// One source (`gateway`), or every source below one (`gateway/*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePattern(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a source such as \"gateway\" or \"gateway/*\", got {0:?}: {1}")]
pub struct InvalidPattern(String, &'static str);

/// As long as a source may be.
const LENGTH_MAX: usize = 200;

impl std::str::FromStr for SourcePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = |why| Err(InvalidPattern(text.chars().take(80).collect(), why));
        let named = text.strip_suffix("/*").unwrap_or(text);
        if named.is_empty() || text.len() > LENGTH_MAX || text.chars().any(|c| c.is_control()) {
            return invalid("it has 1 to 200 printable bytes, and a name before a \"/*\"");
        }
        if named.contains('*') {
            return invalid("a \"*\" stands at the end alone, after a \"/\"");
        }
        if named.trim() != named || named.starts_with('/') || named.ends_with('/') {
            return invalid("no spaces and slashes stand around it");
        }
        if is_reserved_source(named) {
            return invalid("it is, or looks like, one of the fleet's own");
        }
        Ok(Self(text.to_owned()))
    }
}

/// Two whom one source would be bound to by patterns that differ.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected sources of different publishers and tokens to be the same or apart, got {0:?} of {1} and {2:?} of {3}: they overlap"
)]
pub struct Overlap(String, Speaker, String, Speaker);

impl SourcePattern {
    /// Reads the value of a key `sources`.
    ///
    /// # Errors
    /// It is empty, or one is no pattern.
    pub fn list(texts: &[String]) -> Result<Vec<Self>, InvalidSetting> {
        if texts.is_empty() {
            return Err(InvalidSetting::new(
                "expected one source or more, got none: leave the key out for whoever is bound to no source",
            ));
        }
        let read =
            |text: &String| text.parse().map_err(|why: InvalidPattern| InvalidSetting::new(why.to_string()));
        texts.iter().map(read).collect()
    }

    /// Whether some source is, or looks like, one of both.
    fn overlaps(&self, other: &Self) -> bool {
        let [a, b] = [self, other].map(|pattern| match pattern.0.strip_suffix("/*") {
            Some(above) => (normal(above), true),
            None => (normal(&pattern.0), false),
        });
        let covers = |(above, all): &(String, bool), (below, _): &(String, bool)| {
            *all && below.strip_prefix(above.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        // "gateway/*" and "gateway" share none.
        (a.0 == b.0 && a.1 == b.1) || covers(&a, &b) || covers(&b, &a)
    }

    fn matches(&self, source: &str) -> bool {
        covers(&self.0, source)
    }

    /// Whether a source could be taken for one that this matches.
    fn resembles(&self, normal_source: &str) -> bool {
        match self.0.strip_suffix("/*") {
            Some(above) => covers(&format!("{}/*", normal(above)), normal_source),
            None => normal(&self.0) == normal_source,
        }
    }
}

fn covers(pattern: &str, source: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(above) => source.len() > above.len() && source.starts_with(above),
        None => pattern == source,
    }
}

/// Which sources belong to which publisher. No other may use them; a publisher with sources uses no others; and one without
/// may use those that belong to no publisher.
#[derive(Debug, Clone, Default)]
pub struct Sources(BTreeMap<Speaker, Vec<SourcePattern>>);

impl Sources {
    /// Of one speaker all its patterns count.
    pub fn bind(&mut self, speaker: Speaker, patterns: impl IntoIterator<Item = SourcePattern>) {
        self.0.entry(speaker).or_default().extend(patterns);
    }

    /// Refuses sources that are bound to two by patterns that differ: who wrote one of them did not think of the other. The
    /// same pattern may stand at several, such as a service's user and its token, or a token and the one that replaces it.
    ///
    /// # Errors
    /// The first two patterns that overlap, and whose they are.
    pub fn check_bindings(&self) -> Result<(), Overlap> {
        let all: Vec<_> =
            self.0.iter().flat_map(|(who, own)| own.iter().map(move |pattern| (who, pattern))).collect();
        for (at, (who, own)) in all.iter().enumerate() {
            for (other, theirs) in &all[at + 1..] {
                if who != other && own != theirs && own.overlaps(theirs) {
                    let [own, theirs] = [own, theirs].map(|pattern| pattern.0.clone());
                    return Err(Overlap(own, (*who).clone(), theirs, (*other).clone()));
                }
            }
        }
        Ok(())
    }

    /// Whether a publisher may use a source; without a name it is an unknown publisher. Says why not, and which rule it is.
    ///
    /// # Errors
    /// Why the source is not this speaker's to use.
    pub fn check(&self, speaker: Option<&Speaker>, source: &str) -> Result<(), String> {
        if is_reserved_source(source) {
            return Err(format!(
                "source {source:?} is, or looks like, one of the fleet's own: expected the publishing service's name"
            ));
        }
        if let Some((speaker, own)) = speaker.and_then(|speaker| self.0.get_key_value(speaker)) {
            return match own.iter().any(|pattern| pattern.matches(source)) {
                true => Ok(()),
                false => {
                    Err(format!("{speaker} may not use source {source:?}: its sources are {}", list(own)))
                }
            };
        }
        let normal = normal(source);
        match self.0.values().flatten().any(|pattern| pattern.resembles(&normal)) {
            true => Err(format!(
                "source {source:?} is, or looks like, one that is bound to another publisher or token by its key sources"
            )),
            false => Ok(()),
        }
    }
}

fn list(patterns: &[SourcePattern]) -> String {
    patterns.iter().map(|pattern| pattern.0.as_str()).collect::<Vec<_>>().join(", ")
}

/// A source as people read it: without escapes and what cannot be seen, in small letters of one kind, its parts joined by
/// single slashes. Two sources that look the same have the same normal form; it is compared and never stored.
fn normal(source: &str) -> String {
    let unescaped = unescaped(source);
    let seen = unescaped.nfkc().filter(|c| !is_unseen(*c)).flat_map(char::to_lowercase);
    // Small letters may be composed of others again (ﬁ, İ): what marks them is left out.
    let plain: String = seen.nfkd().filter(|c| !is_unseen(*c) && !is_mark(*c)).map(look_alike).collect();
    let parts = plain.split('/').filter(|part| !part.chars().all(|c| c == '.'));
    parts.collect::<Vec<_>>().join("/")
}

/// Percent-encoding undone, however often it was done; bounded, for each round makes the text shorter.
fn unescaped(source: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(source);
    while let Some(decoded) = decoded_once(&text) {
        text = Cow::Owned(decoded);
    }
    text
}

fn decoded_once(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let byte = escaped.and_then(|digits| hex::decode(digits).ok()).map(|byte| byte[0]);
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    (decoded.len() < bytes.len()).then(|| String::from_utf8_lossy(&decoded).into_owned())
}

fn is_unseen(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// The Latin letter or slash that a character is taken for: of the alphabets whose small letters look like it. Not every pair
/// that can be confused, see <https://www.unicode.org/reports/tr39/>, but those of the names that are reserved.
fn look_alike(c: char) -> char {
    match c {
        'а' | 'α' | 'ɑ' => 'a',
        'Ь' | 'ь' | 'в' | 'β' | 'ƅ' => 'b',
        'с' | 'ϲ' | 'ᴄ' => 'c',
        'ԁ' | 'ɗ' | 'đ' => 'd',
        'е' | 'є' | 'ε' | 'ҽ' => 'e',
        'ɡ' | 'ց' => 'g',
        'і' | 'ι' | 'ı' | 'ɩ' | 'ӏ' => 'i',
        'ł' | 'ǀ' | '|' => 'l',
        'п' | 'η' | 'ո' | 'ŋ' => 'n',
        'о' | 'ο' | 'σ' | 'օ' | 'ø' => 'o',
        'р' | 'ρ' | 'ϱ' => 'p',
        'г' | 'ᴦ' | 'ꭇ' => 'r',
        'ѕ' | 'ꜱ' => 's',
        'т' | 'τ' | 'ŧ' => 't',
        'υ' | 'ս' | 'ʋ' | 'ц' => 'u',
        '\\' | '∕' | '⁄' | '⧸' | '╱' | '〳' => '/',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_source_of_the_fleets_own_is_reserved() {
        for source in [
            "paddle",
            "Paddle",
            "PADDLE/evt",
            "paddle/",
            "/paddle",
            "//paddle",
            " paddle",
            "paddle ",
            "pad dle",
            "./paddle",
            "../paddle/x",
            "paddle\\x",
            "%70addle",
            "%2570addle",
            "%2Fpaddle",
            "paddle%2fevt",
            "ｐａｄｄｌｅ",
            "𝐩addle",
            "раddle",
            "p\u{200b}addle",
            "p\u{301}addle",
            "\u{feff}paddle",
            "ѕtripe/x",
            "STRIPE",
            "strıpe",
            "ŞTRİPE",
            "generic/adapter",
            "gеneric",
            "bursar/ledger",
            "Bursar",
            "operator/ada",
            "oреrator/ada",
            "OPERATOR",
            "paddle／x",
            "",
            "/",
            " ",
            "%",
            ".",
            "%20",
            "\u{200b}",
        ] {
            let expect = source != "%";
            assert_eq!(is_reserved_source(source), expect, "{source:?} {:?}", normal(source));
        }
        for source in [
            "gateway/eu-1",
            "paddleboard",
            "shop/paddle",
            "my-stripe",
            "stripes",
            "operators/x",
            "100%",
            "%zz",
            "küche/eu-1",
            "склад/1",
            "仓库",
            "urn:shop:1",
            "https://shop.example/api",
            "paddle-gateway",
        ] {
            assert!(!is_reserved_source(source), "{source:?} {:?}", normal(source));
        }
    }

    fn pattern(text: &str) -> SourcePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_is_a_source_or_all_below_one() {
        let check = |text: &str, source: &str, expect| {
            assert_eq!(pattern(text).matches(source), expect, "{text} {source}");
        };
        check("gateway", "gateway", true);
        check("gateway", "gateway/eu-1", false);
        check("gateway/*", "gateway/eu-1", true);
        check("gateway/*", "gateway/eu-1/a", true);
        check("gateway/*", "gateway", false);
        check("gateway/*", "gateway/", false);
        check("gateway/*", "gateway2/eu-1", false);
        check("gateway/*", "Gateway/eu-1", false);
        for wrong in [
            "",
            "*",
            "/*",
            "**",
            "gate*",
            "*/x",
            "gateway/*/x",
            " shop",
            "shop/",
            "/shop",
            "a\nb",
            "paddle",
            "Stripe/*",
            "operator/*",
        ] {
            assert!(wrong.parse::<SourcePattern>().is_err(), "{wrong:?}");
        }
        let why = "gate*".parse::<SourcePattern>().unwrap_err().to_string();
        assert!(why.contains("\"gateway/*\", got \"gate*\""), "{why}");
    }

    #[test]
    fn patterns_of_different_owners_do_not_overlap() {
        let check = |a: &str, b: &str, overlap: bool| {
            let [gateway, eu] = ["gateway", "eu"].map(|name| Speaker::Token(name.to_owned()));
            for (first, second) in [(a, b), (b, a)] {
                let mut sources = Sources::default();
                sources.bind(gateway.clone(), [pattern(first)]);
                sources.bind(eu.clone(), [pattern(second)]);
                assert_eq!(sources.check_bindings().is_err(), overlap, "{first} {second}");
                let mut one = Sources::default();
                one.bind(gateway.clone(), [pattern(first), pattern(second)]);
                assert_eq!(one.check_bindings(), Ok(()), "what one owns may overlap");
            }
        };
        check("gateway/*", "gateway/eu/*", true);
        check("gateway/*", "gateway/eu", true);
        check("gateway/*", "gateway/*", false);
        check("gateway", "gateway", false);
        check("gateway/*", "Gateway/*", true);
        check("gateway", "Gateway", true);
        check("Gateway/*", "gateway/eu", true);
        check("gateway", "gateway/*", false);
        check("gateway/eu", "gateway/us", false);
        check("gateway/eu/*", "gateway/eu2/*", false);
        let mut sources = Sources::default();
        sources.bind(Speaker::Publisher("a".to_owned()), [pattern("gateway/*")]);
        sources.bind(Speaker::Token("b".to_owned()), [pattern("gateway/eu/*")]);
        let why = sources.check_bindings().unwrap_err().to_string();
        assert!(
            why.contains("\"gateway/*\" of publisher \"a\" and \"gateway/eu/*\" of token \"b\""),
            "{why}"
        );
    }

    #[test]
    fn who_is_bound_uses_its_own_and_nobody_else_does() {
        let [gateway, shop, other] =
            ["gateway", "shop", "other"].map(|name| Speaker::Publisher(name.to_owned()));
        let token = Speaker::Token("gateway".to_owned());
        let mut sources = Sources::default();
        sources.bind(gateway.clone(), [pattern("gateway/*"), pattern("gateway")]);
        sources.bind(token.clone(), [pattern("http/*")]);
        let check = |speaker: Option<&Speaker>, source: &str, expect: Result<(), &str>| match (
            sources.check(speaker, source),
            expect,
        ) {
            (Ok(()), Ok(())) => {}
            (Err(why), Err(expect)) => assert!(why.contains(expect), "{source}: {why}"),
            (got, _) => panic!("{speaker:?} {source}: {got:?}"),
        };
        check(Some(&gateway), "gateway/eu-1", Ok(()));
        check(Some(&gateway), "gateway", Ok(()));
        check(
            Some(&gateway),
            "shop",
            Err("publisher \"gateway\" may not use source \"shop\": its sources are gateway/*, gateway"),
        );
        check(Some(&gateway), "http/1", Err("may not use"));
        check(Some(&token), "gateway/eu-1", Err("token \"gateway\" may not use"));
        check(Some(&token), "http/1", Ok(()));
        for stranger in [Some(&shop), Some(&other), None] {
            check(stranger, "shop", Ok(()));
            for taken in [
                "gateway/eu-1",
                "Gateway/EU-1",
                "gateway//eu-1",
                "gateway%2Feu-1",
                "gаteway/x",
                "http/1",
                "gateway",
            ] {
                check(stranger, taken, Err("bound to another publisher or token"));
            }
            check(stranger, "gateways", Ok(()));
            check(stranger, "paddle", Err("the fleet's own"));
        }
        check(Some(&gateway), "Gateway/eu-1", Err("may not use"));
        assert!(Sources::default().check(None, "gateway/eu-1").is_ok());
    }
}
