//! The rules and the catalogs that decide.

use db::{Doing, Error, Work};
use domain::catalog::{Catalog, CatalogVersion};
use domain::ledger::{RecordedRules, Rules};
use sqlx::types::Json;

/// Keeps the rules that decide, and their catalog, beside what they decide. Returns whether they were kept before.
pub(crate) async fn record_rules(work: &mut Work, rules: &Rules, version: i64) -> Result<bool, Error> {
    let recorded = RecordedRules::of(rules);
    let now = work.now;
    let known = sqlx::query_scalar!(
        r#"select exists (select from rules_versions where rules = $1) as "known!""#,
        version,
    )
    .fetch_one(work.connection().await?)
    .await
    .doing("looking for the rules")?;
    if known {
        return Ok(true);
    }
    sqlx::query!(
        "with catalog as (
             insert into catalog_versions (version, content, first_seen) values ($1, $2, $5) on conflict do nothing)
         insert into rules_versions (rules, content, catalog, first_seen) values ($3, $4, $1, $5) on conflict do nothing",
        recorded.catalog.0,
        Json(rules.catalogs.get(&rules.current)) as _,
        version,
        Json(&recorded) as _,
        now,
    )
    .execute(work.connection().await?)
    .await
    .doing("keeping the rules")?;
    Ok(false)
}

/// Reads catalogs by their versions; those that are not kept are left out.
pub(crate) async fn catalogs(
    work: &mut Work,
    versions: &[String],
) -> Result<Vec<(CatalogVersion, Catalog)>, Error> {
    let rows = sqlx::query!(
        r#"select version, content as "content: Json<Catalog>" from catalog_versions where version = any($1)"#,
        versions,
    )
    .fetch_all(work.connection().await?)
    .await
    .doing("reading catalogs")?;
    Ok(rows.into_iter().map(|row| (CatalogVersion(row.version), row.content.0)).collect())
}
