//! Gives the role that runs the fleet its rights.

use super::rights::Update::{Anything, Columns, Nothing};
use super::rights::{FUNCTIONS, RIGHTS, Right};
use crate::error::{Doing, Error};
use crate::pool::Pool;
use sqlx::{AssertSqlSafe, PgConnection};

/// Gives a role what it needs to run the fleet, and takes from it what it had more of the tables. Safe to repeat; to be repeated
/// after each migration. The pool is the owner's.
///
/// # Errors
/// [`Error::Role`] where there is no such role, or it may do everything anyway.
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
    .ok_or_else(|| missing(role))?;
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

fn missing(role: &str) -> Error {
    let why = "there is no such role: create it, with `login` and a password";
    Error::Role { role: role.to_owned(), why }
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
}
