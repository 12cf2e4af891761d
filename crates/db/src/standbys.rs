//! The standbys of the database, as its primary sees them.

use crate::error::{Doing, Error};
use crate::pool::Pool;

/// How commits are kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standbys {
    /// None is connected.
    None,
    /// A commit waits for at least one of these.
    Synchronous(Vec<String>),
    /// Commits wait for no standby: what these have not received yet is lost with the primary.
    Asynchronous(Vec<String>),
    /// Commits wait for a standby, and none is connected: nothing can be written.
    Missing(String),
    /// The login may not see them: it lacks the rights of `pg_read_all_stats`.
    Unseen,
}

/// Asks the primary. `synchronous_commit` decides too: with `local` or `off` a commit waits for no standby.
///
/// # Errors
/// Where Postgres does not answer.
pub async fn of(pool: &Pool) -> Result<Standbys, Error> {
    let row: (String, String, Vec<String>, Vec<String>, bool) = sqlx::query_as(
        "select current_setting('synchronous_standby_names'), current_setting('synchronous_commit'),
            coalesce(array_agg(application_name order by 1) filter (where sync_state in ('sync', 'quorum')), '{}'),
            coalesce(array_agg(application_name order by 1) filter (where sync_state is not null), '{}'),
            coalesce(bool_or(sync_state is null), false)
         from pg_stat_replication",
    )
    .fetch_one(pool)
    .await
    .doing("asking for standbys")?;
    Ok(judged(row))
}

fn judged(
    (names, commit, synchronous, all, unseen): (String, String, Vec<String>, Vec<String>, bool),
) -> Standbys {
    let waits = !names.is_empty() && !matches!(commit.as_str(), "off" | "local");
    match (waits, synchronous.is_empty(), all.is_empty()) {
        (true, false, _) => Standbys::Synchronous(synchronous),
        (_, _, true) if unseen => Standbys::Unseen,
        (true, true, _) => Standbys::Missing(names),
        (false, _, false) => Standbys::Asynchronous(all),
        (false, _, true) => Standbys::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_that_wait_for_no_standby_are_told_from_those_that_do() {
        let told = |names: &str, commit: &str, synchronous: &[&str], all: &[&str], unseen| {
            let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            judged((names.to_owned(), commit.to_owned(), list(synchronous), list(all), unseen))
        };
        let a = || vec!["a".to_owned()];
        assert_eq!(told("", "on", &[], &[], false), Standbys::None);
        assert_eq!(told("", "on", &[], &["a"], false), Standbys::Asynchronous(a()));
        assert_eq!(told("ANY 1 (a)", "on", &["a"], &["a"], false), Standbys::Synchronous(a()));
        assert_eq!(told("ANY 1 (a)", "local", &["a"], &["a"], false), Standbys::Asynchronous(a()));
        assert_eq!(told("ANY 1 (b)", "on", &[], &["a"], false), Standbys::Missing("ANY 1 (b)".to_owned()));
        assert_eq!(told("", "on", &[], &[], true), Standbys::Unseen);
    }
}
