//! How a role stands to the tables: whether it may do more than it needs, or less.

use super::rights::Update::{Anything, Columns, Nothing};
use super::rights::{RIGHTS, Right};
use crate::error::{Doing, Error};
use crate::pool::Pool;

/// How the role of a pool stands to the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleStanding {
    pub role: String,
    pub is_superuser: bool,
    /// It owns tables, or may act as who does, if only by `set role`.
    pub is_owner: bool,
    /// It may make tables beside those of the fleet.
    pub may_create: bool,
    /// What it may do and need not: `TRUNCATE on transactions`.
    pub too_much: Vec<String>,
    /// What it needs and may not.
    pub too_little: Vec<String>,
}

/// Looks how the role of a pool stands.
///
/// # Errors
/// Where Postgres does not answer.
pub async fn standing(pool: &Pool) -> Result<RoleStanding, Error> {
    let Role { name, is_superuser, is_owner, may_create } = role(pool).await?;
    let (mut too_much, mut too_little) = (Vec::new(), Vec::new());
    for held in &held(pool).await? {
        if let Some(right) = RIGHTS.iter().find(|right| right.table == held.table) {
            compare(right, held, &mut too_much, &mut too_little);
        }
    }
    Ok(RoleStanding { role: name, is_superuser, is_owner, may_create, too_much, too_little })
}

#[derive(sqlx::FromRow)]
struct Role {
    name: String,
    is_superuser: bool,
    is_owner: bool,
    may_create: bool,
}

/// Not checked at compile time: it asks the catalog about tables that may be missing.
async fn role(pool: &Pool) -> Result<Role, Error> {
    sqlx::query_as(
        "select current_user::text as name, rolsuper as is_superuser,
                exists (select from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p')
                        and relname = any($1) and pg_has_role(relowner, 'member')) as is_owner,
                has_schema_privilege(current_schema(), 'create') as may_create
         from pg_roles where rolname = current_user",
    )
    .bind(RIGHTS.iter().map(|right| right.table).collect::<Vec<_>>())
    .fetch_one(pool)
    .await
    .doing("looking at the role")
}

/// What a role may do to a table.
#[derive(sqlx::FromRow)]
struct HeldRight {
    table: String,
    may: Vec<String>,
    /// Columns.
    inserts: Vec<String>,
    updates: Vec<String>,
}

/// Not checked at compile time: it asks the catalog about tables that may be missing.
async fn held(pool: &Pool) -> Result<Vec<HeldRight>, Error> {
    sqlx::query_as(
        r#"select relname::text as "table",
                array(select p from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) p
                      where has_table_privilege(c.oid, p)) as may,
                array(select attname::text from pg_attribute a where a.attrelid = c.oid and attnum > 0 and not attisdropped
                      and has_column_privilege(c.oid, attnum, 'INSERT') order by attnum) as inserts,
                array(select attname::text from pg_attribute a where a.attrelid = c.oid and attnum > 0 and not attisdropped
                      and has_column_privilege(c.oid, attnum, 'UPDATE') order by attnum) as updates
         from pg_class c where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'v') order by relname"#,
    )
    .fetch_all(pool)
    .await
    .doing("looking at the role's rights")
}

fn compare(right: &Right, held: &HeldRight, too_much: &mut Vec<String>, too_little: &mut Vec<String>) {
    let needed = [
        ("SELECT", true),
        ("INSERT", right.insert),
        ("DELETE", right.delete),
        ("UPDATE", right.update == Anything),
        ("TRUNCATE", false),
        ("TRIGGER", false),
    ];
    for (what, is_needed) in needed {
        let says = format!("{what} on {}", right.table);
        match (is_needed, held.may(what)) {
            (true, false) => too_little.push(says),
            (false, true) => too_much.push(says),
            (true, true) | (false, false) => {}
        }
    }
    let updates = match right.update {
        Nothing => &[],
        Columns(columns) => columns,
        // Compared above, for the whole table.
        Anything => return,
    };
    too_little.extend(held.lacking_updates(updates));
    too_much.extend(held.beyond("UPDATE", &held.updates, updates));
    if !right.insert {
        too_much.extend(held.beyond("INSERT", &held.inserts, &[]));
    }
}

impl HeldRight {
    /// To the whole table.
    fn may(&self, what: &str) -> bool {
        self.may.iter().any(|may| may == what)
    }

    fn lacking_updates(&self, wanted: &[&str]) -> Option<String> {
        let is_held = |column: &&str| self.updates.iter().any(|may| may == column);
        let lacking: Vec<&str> = wanted.iter().copied().filter(|column| !is_held(column)).collect();
        (!lacking.is_empty()).then(|| format!("UPDATE ({}) on {}", lacking.join(", "), self.table))
    }

    /// Columns that it may change and need not. The right to the whole table, compared above, is that to all its columns.
    fn beyond(&self, what: &str, columns: &[String], wanted: &[&str]) -> Option<String> {
        let more: Vec<&str> =
            columns.iter().map(String::as_str).filter(|column| !wanted.contains(column)).collect();
        let is_beyond = !more.is_empty() && !self.may(what);
        is_beyond.then(|| format!("{what} ({}) on {}", more.join(", "), self.table))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rights::{changed, kept, read};
    use super::*;

    #[test]
    fn rights_to_columns_are_held_against_what_is_needed_whatever_that_is() {
        let check = |right: Right, updates: &[&str], much: &[&str], little: &[&str]| {
            let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let held = HeldRight {
                table: right.table.to_owned(),
                may: list(&["SELECT", "INSERT"]),
                inserts: list(&["a", "b"]),
                updates: list(updates),
            };
            let (mut too_much, mut too_little) = (Vec::new(), Vec::new());
            compare(&right, &held, &mut too_much, &mut too_little);
            assert_eq!((too_much, too_little), (list(much), list(little)));
        };
        check(kept("t"), &[], &[], &[]);
        check(kept("t"), &["a"], &["UPDATE (a) on t"], &[]);
        check(changed("t", Columns(&["a"])), &["a"], &[], &[]);
        check(changed("t", Columns(&["a"])), &["a", "b"], &["UPDATE (b) on t"], &[]);
        check(changed("t", Columns(&["a"])), &["b"], &["UPDATE (b) on t"], &["UPDATE (a) on t"]);
        let insert = read("t");
        check(insert, &[], &["INSERT on t"], &[]);
    }
}
