//! What decided about credits: catalogs and rules are kept under names that are hashes of their content. Each name is
//! computed again.

use super::Culprit;
use db::{Doing, Error, PgConnection};
use domain::catalog::Catalog;
use domain::ledger::RecordedRules;
use serde_json::Value;

/// A catalog or a set of rules, under the name that it is kept by.
pub(super) struct Kept {
    what: &'static str,
    name: String,
    content: Value,
}

impl Kept {
    pub fn culprit(&self) -> Option<Culprit> {
        let named = match self.what {
            CATALOG => serde_json::from_value::<Catalog>(self.content.clone()).map(|kept| kept.version().0),
            _ => serde_json::from_value::<RecordedRules>(self.content.clone())
                .map(|kept| kept.version().to_string()),
        };
        let got = match named {
            Ok(named) if named == self.name => return None,
            Ok(named) => format!("what would be named {named}"),
            Err(error) => error.to_string(),
        };
        let subject = format!("{} {}", self.what, self.name);
        Some(Culprit { subject, expected: "the content that its name is the hash of".to_owned(), got })
    }
}

const CATALOG: &str = "catalog";
const RULES: &str = "rules";

pub(super) async fn kept(connection: &mut PgConnection) -> Result<Vec<Kept>, Error> {
    let rows = sqlx::query!(
        r#"select $1::text as "what!", version as "name!", content as "content!" from catalog_versions
           union all
           select $2, rules::text, content from rules_versions
           order by 1, 2"#,
        CATALOG,
        RULES,
    )
    .fetch_all(connection)
    .await
    .doing("reading catalogs and rules")?;
    Ok(rows
        .into_iter()
        .map(|row| Kept {
            what: if row.what == CATALOG { CATALOG } else { RULES },
            name: row.name,
            content: row.content,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(what: &'static str, name: &str, content: Value, expect_ok: bool) {
        let kept = Kept { what, name: name.to_owned(), content };
        assert_eq!(kept.culprit().is_none(), expect_ok, "{:?}", kept.culprit());
    }

    /// Names stay what they were: what a later version adds is left out of the content where it says nothing.
    #[test]
    fn the_names_of_earlier_versions_are_still_those_of_their_content() {
        let price = json!({ "credits": "1000", "bonus": "50", "expires_after_seconds": 86400 });
        let catalog = |rate| json!({ "prices": { "paddle": { "pri_1": price } }, "rates": { "USD": rate } });
        check(CATALOG, "56b8803c6dec716a", catalog("100"), true);
        check(CATALOG, "56b8803c6dec716a", catalog("101"), false);
        let rules = |scale| {
            json!({ "scale": scale, "burn_order": ["expiry", "promotional", "oldest"], "low": ["100"],
                    "grace_seconds": 2592000, "catalog": "x" })
        };
        check(RULES, "-2646829727070720231", rules(6), true);
        check(RULES, "-2646829727070720231", rules(2), false);
        check(RULES, "-2646829727070720231", json!({}), false);
    }
}
