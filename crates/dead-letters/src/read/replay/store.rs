//! SQL of the list of replays.

use super::ReplayLine;
use db::{Doing, Error, Pool};
use uuid::Uuid;

/// The latest replays first, or the one.
///
/// # Errors
/// Those of the database.
pub async fn replays(pool: &Pool, replay: Option<Uuid>, limit: i64) -> Result<Vec<ReplayLine>, Error> {
    sqlx::query_as!(
        ReplayLine,
        r#"select r.replay, r.state, r.by, r.reason, r.filter, r.total, r.canary, r.rate, r.started_at, r.ended_at,
                  c.waiting as "waiting!", c.published as "published!", c.resolved as "resolved!", c.dead_again as "dead_again!",
                  c.released as "released!", w.why as released_why
           from (select * from replays where $1::uuid is null or replay = $1 order by replay desc limit $2) r
           cross join lateral (
               select count(*) filter (where state = 'waiting') as waiting,
                      count(*) filter (where state = 'published') as published,
                      count(*) filter (where state = 'resolved') as resolved,
                      count(*) filter (where state = 'dead_again') as dead_again,
                      count(*) filter (where state = 'released') as released
               from replay_letters l where l.replay = r.replay) c
           cross join lateral (
               select json_object_agg(outcome, count) as why
               from (select outcome, count(*) from replay_letters l
                     where l.replay = r.replay and state = 'released' group by outcome) w) w
           order by r.replay desc"#,
        replay,
        limit,
    )
    .fetch_all(pool)
    .await
    .doing("listing replays")
}
