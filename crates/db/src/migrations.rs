//! The migrations: every table of the fleet, and whether a database has those that this version needs.

use crate::error::{Doing, Error};
use crate::pool::Pool;
use crate::sqlstate::{FORBIDDEN, UNDEFINED_TABLE};
use crate::writable::takes_changes;
use crate::{processes, roles};

/// Every table of the fleet. Migrations only go forward.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Brings the tables to what this version needs. Changes nothing while workers are connected.
///
/// # Errors
/// [`Error::NotOwner`] where the pool's role may not, [`Error::AtWork`] while workers are connected, [`Error::OtherTables`] where
/// the tables are of another version, [`Error::Migrate`] where a migration fails.
pub async fn migrate(pool: &Pool) -> Result<(), Error> {
    if !roles::may_migrate(pool).await? {
        return Err(Error::NotOwner);
    }
    // In this order: workers that another process started meanwhile have found the tables as they should be.
    let workers = processes::workers(pool).await?;
    if !workers.is_empty() && !is_ready(pool).await? {
        let names =
            workers.iter().map(|(name, connections)| format!("{connections} connections named {name:?}"));
        return Err(Error::AtWork(names.collect::<Vec<_>>().join(", ")));
    }
    Ok(MIGRATIONS.run(pool).await?)
}

/// Whether the database has every migration that this binary knows.
///
/// # Errors
/// [`Error::ReadOnly`] where the database takes no changes, [`Error::OtherTables`] where it has migrations that this binary
/// does not know.
pub async fn is_ready(pool: &Pool) -> Result<bool, Error> {
    let mut connection = pool.acquire().await.map_err(Error::Away)?;
    if !takes_changes(&mut connection).await.doing("asking whether it takes changes")? {
        return Err(Error::ReadOnly);
    }
    drop(connection);
    // Not checked at compile time: the table is the migrator's own.
    let applied: Result<Vec<Applied>, sqlx::Error> =
        sqlx::query_as("select version, checksum from _sqlx_migrations where success order by version")
            .fetch_all(pool)
            .await;
    let applied = match applied {
        // Not there, or not for this role to see.
        Err(sqlx::Error::Database(error))
            if matches!(error.code().as_deref(), Some(UNDEFINED_TABLE | FORBIDDEN)) =>
        {
            Vec::new()
        }
        asked => asked.doing("asking which migrations are applied")?,
    };
    let known: Vec<Applied> =
        MIGRATIONS.iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect();
    is_complete(&known, &applied)
}

/// The version of a migration, and its checksum.
type Applied = (i64, Vec<u8>);

fn is_complete(known: &[Applied], applied: &[Applied]) -> Result<bool, Error> {
    for (version, checksum) in applied {
        match known.iter().find(|(known, _)| known == version) {
            None => {
                return Err(Error::OtherTables(format!(
                    "they have the migration {version}, which it does not know"
                )));
            }
            Some((_, known)) if known != checksum => {
                return Err(Error::OtherTables(format!(
                    "the migration {version} was another one when it was applied"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(known.len() == applied.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_ready_by_its_migrations_and_not_by_their_number() {
        let of = |versions: &[(i64, u8)]| -> Vec<Applied> {
            versions.iter().map(|(version, checksum)| (*version, vec![*checksum])).collect()
        };
        let known = of(&[(1, 1), (2, 2), (4, 4)]);
        let told =
            |applied: &[(i64, u8)]| is_complete(&known, &of(applied)).map_err(|error| error.to_string());
        assert_eq!(told(&[]), Ok(false));
        assert_eq!(told(&[(1, 1), (4, 4)]), Ok(false));
        assert_eq!(told(&[(1, 1), (2, 2), (4, 4)]), Ok(true));
        for (applied, part) in [
            (&[(1, 1), (2, 2), (3, 3)][..], "the migration 3, which it does not know"),
            (&[(1, 1), (2, 2), (4, 4), (5, 5)], "the migration 5, which it does not know"),
            (&[(1, 1), (2, 2), (4, 5)], "the migration 4 was another one"),
        ] {
            let why = told(applied).expect_err("other tables");
            assert!(why.contains(part), "{why}");
        }
    }
}
