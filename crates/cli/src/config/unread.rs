//! Why `bursar.toml` cannot be read: where, and what was expected. Nothing that stands in it is quoted, for it holds secrets: an
//! error of the reader shows the whole line, and the value.

/// The message with the line and the key.
pub fn told(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| {
        let number = before.matches('\n').count() + 1;
        format!("line {number}: ")
    });
    format!("{}{}{}", line.unwrap_or_default(), without_value(error.message()), place(error))
}

/// The reader tells the key only where it does not show the line.
fn place(error: &toml::de::Error) -> String {
    let mut bare = error.clone();
    bare.set_input(None);
    let told = bare.to_string();
    let place = told.strip_prefix(error.message()).map(str::trim).unwrap_or_default();
    if place.is_empty() { String::new() } else { format!(" ({place})") }
}

/// What was expected, without what came.
fn without_value(message: &str) -> String {
    // It names a key.
    if message.starts_with("unknown field ") {
        return message.to_owned();
    }
    let quotes = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant "];
    if quotes.iter().any(|quote| message.starts_with(quote)) {
        // The last, for the value may hold the same words.
        return match message.rsplit_once(", expected ") {
            Some((_, expected)) => format!("expected {expected}, got something else"),
            None => "expected another value".to_owned(),
        };
    }
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}***{}", &message[..first], &message[last + 1..])
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn a_configuration_that_cannot_be_read_says_where_and_quotes_nothing() {
        let check = |text: &str, parts: &[&str]| {
            let error = format!("{:#}", Config::parse(text).unwrap_err());
            assert!(!error.contains("hush") && !error.contains("pdl_"), "{text}: {error}");
            for part in parts {
                assert!(error.contains(part), "{text}: {part:?} is not in {error}");
            }
        };
        check(
            "[webhook_secrets]\npaddle = \"pdl_hush\"",
            &["line 2: ", "expected a sequence", "webhook_secrets.paddle"],
        );
        check("mode = \"live\"\ndatabase_url = \"postgres://a:hush@h/d\nnamespace = \"x\"", &["line 2: "]);
        check("database_url = postgres://a:hush@h/d", &["line 1: "]);
        check("databse_url = \"postgres://a:hush@h/d\"", &["line 1: ", "unknown field `databse_url`"]);
        check("\n[accounts]\nlink_secrt = \"hush\"", &["line 3: ", "unknown field `link_secrt`"]);
        check("mode = \"hush, expected hush\"", &["line 1: ", "mode"]);
        check("http_addr = \"hush\"", &["line 1: ", "http_addr"]);
        check("database_url = [\"hush, expected hush\"]", &["line 1: ", "database_url"]);
        check("amqp_url = \"a\"\namqp_url = \"hush\"", &["line 2: ", "duplicate key"]);
        check("[credits]\nlow = [\"hush\"]", &["line 2: ", "credits.low"]);
        check("tokens = \"hush\"", &["line 1: "]);
    }
}
