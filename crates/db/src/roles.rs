//! Two roles: one owns the tables and migrates, one runs the fleet and may do to each table what the fleet does, no more.
//!
//! The owner of a table may do anything to it: rights can only be taken from a role that does not own it. With one role for
//! both everything works, and Postgres refuses nothing.

mod grant;
mod rights;
mod standing;

pub use grant::grant;
pub use rights::{FUNCTIONS, RIGHTS, Right, Update};
pub use standing::{RoleStanding, standing};

use crate::error::{Doing, Error};
use crate::pool::Pool;
use sqlx::PgConnection;

/// Whether the role of a pool can bring the tables to what a version needs.
///
/// # Errors
/// Where Postgres does not answer.
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
///
/// # Errors
/// Where Postgres does not answer.
pub async fn may_create_roles(connection: &mut PgConnection) -> Result<bool, Error> {
    sqlx::query_scalar("select rolsuper or rolcreaterole from pg_roles where rolname = current_user")
        .fetch_one(connection)
        .await
        .doing("asking whether the login may make roles")
}

/// Whether the role of a pool may make a schema: a rebuild happens in one.
///
/// # Errors
/// Where Postgres does not answer.
pub async fn may_rebuild(pool: &Pool) -> Result<bool, Error> {
    sqlx::query_scalar("select has_database_privilege(current_database(), 'create')")
        .fetch_one(pool)
        .await
        .doing("asking whether the role may make a schema")
}
