//! Two roles: one owns the tables and migrates, one runs the fleet and may do to each table what the fleet does, no more.
//!
//! Whoever owns a table may do anything to it, so a revoke means something to a role that does not. With one role for all
//! everything works, and nothing is refused.

use crate::{Doing, Error, Pool};
use sqlx::{AssertSqlSafe, PgConnection};

/// What the role that runs may do to a table, besides reading it.
#[derive(Debug, Clone, Copy)]
pub struct Right {
    pub table: &'static str,
    pub insert: bool,
    pub delete: bool,
    pub update: Update,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    Nothing,
    /// A lock of a row needs the right to update one column, whichever.
    Columns(&'static [&'static str]),
    Anything,
}

use Update::{Anything, Columns, Nothing};

/// Kept for good as it was written.
const fn kept(table: &'static str) -> Right {
    Right { table, insert: true, delete: false, update: Nothing }
}

const fn read(table: &'static str) -> Right {
    Right { table, insert: false, delete: false, update: Nothing }
}

const fn changed(table: &'static str, update: Update) -> Right {
    Right { table, insert: true, delete: false, update }
}

const fn passing(table: &'static str, update: Update) -> Right {
    Right { table, insert: true, delete: true, update }
}

/// Every table and view. A test holds this list and the migrations together.
pub const RIGHTS: &[Right] = &[
    kept("transactions"),
    kept("events"),
    kept("catalog_versions"),
    kept("rules_versions"),
    kept("dead_letter_audit"),
    kept("dead_letter_audit_letters"),
    kept("forgone_facts"),
    kept("erasures"),
    // What a fact says changes once, where nobody understood it before: by a trigger (inbox_kept).
    changed("inbox", Columns(&["repeats", "recognised_at", "kind", "hash", "fact", "time"])),
    // An outcome goes where it was a refusal: by a trigger (outcomes_kept).
    passing("outcomes", Nothing),
    // What was admitted before a reader existed is its own once all of it was handed over.
    changed("readers", Columns(&["since"])),
    changed("payment_ids", Columns(&["payment"])),
    changed("customers", Columns(&["account", "email", "email_at"])),
    changed("payments", Anything),
    changed("accounts", Anything),
    changed("lots", Anything),
    passing("raw_deliveries", Nothing),
    passing("kept_messages", Columns(&["refusals"])),
    passing("outbox", Columns(&["created_at"])),
    passing("suspects", Columns(&["tries"])),
    passing("dead_letters", Anything),
    passing("fingerprints", Nothing),
    passing("replays", Anything),
    passing("replay_letters", Anything),
    passing("alerts", Anything),
    changed(
        "hand_overs",
        Columns(&["state", "ended_at", "facts", "place", "handed_over", "left_out", "unreadable"]),
    ),
    passing("hand_over_facts", Nothing),
    read("entries"),
    read("facts_given_up"),
    // Texts are erased by `erase_texts` alone.
    read("erased_facts"),
    read("facts_with_texts"),
    read("_sqlx_migrations"),
];

/// The functions that the role that runs calls. Whatever else a migration makes is not its to call: triggers run without.
pub const FUNCTIONS: &[&str] =
    &["erase_texts", "told_with", "deliveries_of", "without_texts", "dead_letters_meant", "dead_letter_fits"];

/// SQLSTATE of a role, a table or a schema that one may not use.
pub(crate) const FORBIDDEN: &str = "42501";

/// Gives a role what it needs to run the fleet, and takes from it what it had more of the tables. Safe to repeat; to be repeated
/// after each migration. The pool is the owner's.
pub async fn grant(owner: &Pool, role: &str) -> Result<(), Error> {
    let mut transaction = owner.begin().await.map_err(Error::Away)?;
    let (schema, is_above): (String, bool) = sqlx::query_as(
        "select quote_ident(current_schema()), pg_has_role(oid, (select relowner from pg_class where oid = 'inbox'::regclass), 'member')
         from pg_roles where rolname = $1",
    )
    .bind(role)
    .fetch_optional(&mut *transaction)
    .await
    .doing("looking for the role")?
    .ok_or_else(|| Error::Role { role: role.to_owned(), why: "there is no such role: create it, with `login` and a password" })?;
    if is_above {
        let why = "it may do everything to the tables anyway: it owns them, is a member of who does (inheriting or not), or is a superuser";
        return Err(Error::Role { role: role.to_owned(), why });
    }
    let role = quoted(role);
    let taken = taken(&mut transaction, &role).await?;
    for statement in taken.into_iter().chain(statements(&schema, &role)) {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await.doing("granting rights")?;
    }
    transaction.commit().await.doing("granting rights")
}

/// What is taken from the role besides the tables. Of functions those of the owner: what the schema holds of others' is not ours
/// to revoke. And temporary tables, of which the fleet makes none: one may have the name of any other, for whoever asks by name
/// alone. That right only the database's owner can take away.
async fn taken(owner: &mut PgConnection, role: &str) -> Result<Vec<String>, Error> {
    let functions: Vec<String> = sqlx::query_scalar(
        "select oid::regprocedure::text from pg_proc
         where pronamespace = current_schema()::regnamespace and pg_has_role(proowner, 'usage') and prokind in ('f', 'w')",
    )
    .fetch_all(&mut *owner)
    .await
    .doing("listing functions")?;
    let database: Option<String> = sqlx::query_scalar(
        "select quote_ident(datname) from pg_database where datname = current_database() and pg_has_role(datdba, 'usage')",
    )
    .fetch_optional(owner)
    .await
    .doing("asking who owns the database")?;
    let mut statements: Vec<String> = functions
        .into_iter()
        .map(|function| format!("revoke execute on function {function} from {role}"))
        .collect();
    statements.extend(
        database.map(|database| format!("revoke temporary on database {database} from public, {role}")),
    );
    Ok(statements)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn statements(schema: &str, role: &str) -> Vec<String> {
    let mut statements = vec![
        format!("revoke all on all tables in schema {schema} from {role}"),
        format!("revoke create on schema {schema} from {role}"),
        format!("grant usage on schema {schema} to {role}"),
    ];
    // A change that only a function may make, with the rights of its owner, is the fleet's to ask for.
    statements.extend(
        FUNCTIONS.iter().map(|function| format!("grant execute on function {schema}.{function} to {role}")),
    );
    for Right { table, insert, delete, update } in RIGHTS {
        let mut may = vec!["select".to_owned()];
        may.extend(insert.then(|| "insert".to_owned()));
        may.extend(delete.then(|| "delete".to_owned()));
        match update {
            Nothing => {}
            Columns(columns) => may.push(format!("update ({})", columns.join(", "))),
            Anything => may.push("update".to_owned()),
        }
        statements.push(format!("grant {} on {schema}.{table} to {role}", may.join(", ")));
    }
    statements
}

/// How the role of a pool stands to the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
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

struct Held {
    table: String,
    may: Vec<String>,
    /// Columns.
    inserts: Vec<String>,
    updates: Vec<String>,
}

/// Looks how the role of a pool stands. Not checked at compile time: it asks the catalog about tables that may be missing.
pub async fn standing(pool: &Pool) -> Result<Standing, Error> {
    let (role, is_superuser, is_owner, may_create): (String, bool, bool, bool) = sqlx::query_as(
        "select current_user::text, rolsuper,
                exists (select from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p')
                        and relname = any($1) and pg_has_role(relowner, 'member')),
                has_schema_privilege(current_schema(), 'create')
         from pg_roles where rolname = current_user",
    )
    .bind(RIGHTS.iter().map(|right| right.table).collect::<Vec<_>>())
    .fetch_one(pool)
    .await
    .doing("looking at the role")?;
    let held: Vec<Held> = sqlx::query_as::<_, (String, Vec<String>, Vec<String>, Vec<String>)>(
        "select relname::text, array(select p from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) p
                               where has_table_privilege(c.oid, p)),
                array(select attname::text from pg_attribute a where a.attrelid = c.oid and attnum > 0 and not attisdropped
                      and has_column_privilege(c.oid, attnum, 'INSERT') order by attnum),
                array(select attname::text from pg_attribute a where a.attrelid = c.oid and attnum > 0 and not attisdropped
                      and has_column_privilege(c.oid, attnum, 'UPDATE') order by attnum)
         from pg_class c where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'v') order by relname",
    )
    .fetch_all(pool)
    .await
    .doing("looking at the role's rights")?
    .into_iter()
    .map(|(table, may, inserts, updates)| Held { table, may, inserts, updates })
    .collect();
    let (mut too_much, mut too_little) = (Vec::new(), Vec::new());
    for held in &held {
        if let Some(right) = RIGHTS.iter().find(|right| right.table == held.table) {
            compare(right, held, &mut too_much, &mut too_little);
        }
    }
    Ok(Standing { role, is_superuser, is_owner, may_create, too_much, too_little })
}

fn compare(right: &Right, held: &Held, too_much: &mut Vec<String>, too_little: &mut Vec<String>) {
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
        match (is_needed, held.may.iter().any(|may| may == what)) {
            (true, false) => too_little.push(says),
            (false, true) => too_much.push(says),
            (true, true) | (false, false) => {}
        }
    }
    let wanted = match right.update {
        Nothing => &[],
        Columns(columns) => columns,
        // Told above.
        Anything => return,
    };
    let lacking: Vec<&str> =
        wanted.iter().filter(|column| !held.updates.iter().any(|may| may == *column)).copied().collect();
    if !lacking.is_empty() {
        too_little.push(format!("UPDATE ({}) on {}", lacking.join(", "), right.table));
    }
    // With the right to the whole table, told above, come all of its columns.
    let mut beyond = |what: &str, may: &[String], wanted: &[&str]| {
        let more: Vec<&str> =
            may.iter().map(String::as_str).filter(|column| !wanted.contains(column)).collect();
        if !more.is_empty() && !held.may.iter().any(|may| may == what) {
            too_much.push(format!("{what} ({}) on {}", more.join(", "), right.table));
        }
    };
    beyond("UPDATE", &held.updates, wanted);
    if !right.insert {
        beyond("INSERT", &held.inserts, &[]);
    }
}

/// Whether the role of a pool can bring the tables to what a version needs.
pub async fn may_migrate(pool: &Pool) -> Result<bool, Error> {
    sqlx::query_scalar(
        "select coalesce(has_schema_privilege(current_schema(), 'create'), false)
            and not exists (select from pg_class where relnamespace = current_schema()::regnamespace
                            and relname = '_sqlx_migrations' and not pg_has_role(relowner, 'usage'))",
    )
    .fetch_one(pool)
    .await
    .doing("asking who owns the tables")
}

/// Whether a login may make roles.
pub async fn may_create_roles(connection: &mut PgConnection) -> Result<bool, Error> {
    sqlx::query_scalar("select rolsuper or rolcreaterole from pg_roles where rolname = current_user")
        .fetch_one(connection)
        .await
        .doing("asking whether the login may make roles")
}

/// Whether the role of a pool may make a schema: a rebuild happens in one.
pub async fn may_rebuild(pool: &Pool) -> Result<bool, Error> {
    sqlx::query_scalar("select has_database_privilege(current_database(), 'create')")
        .fetch_one(pool)
        .await
        .doing("asking whether the role may make a schema")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_granted_by_column_where_it_is_one_of_columns() {
        let statements = statements("public", "\"runs\"");
        let of = |table: &str| {
            let ending = format!(" on public.{table} to \"runs\"");
            statements.iter().find_map(|statement| statement.strip_suffix(&ending)).unwrap()
        };
        assert_eq!(of("transactions"), "grant select, insert");
        assert_eq!(of("entries"), "grant select");
        assert_eq!(of("kept_messages"), "grant select, insert, delete, update (refusals)");
        assert_eq!(of("lots"), "grant select, insert, update");
        assert!(!statements.iter().any(|statement| statement.contains("all functions")), "{statements:?}");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn rights_to_columns_are_held_against_what_is_needed_whatever_that_is() {
        let check = |right: Right, updates: &[&str], much: &[&str], little: &[&str]| {
            let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let held = Held {
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
