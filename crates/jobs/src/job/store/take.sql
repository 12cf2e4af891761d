-- Takes rows that are due or whose lease has ended.
-- $1 kind, $2 room, $3 at once of each key, $4 at once of the kind, $5 holder, $6 lease in seconds,
-- $7 rows looked at from the front, $8 the key behind which a leap begins.
with recursive running as materialized (
    select key, count(*) as running from jobs
    where kind = $1 and state in ('calling', 'asking') and next_at > statement_timestamp()
    group by key
), front as materialized (
    select id, key, next_at from jobs
    where kind = $1 and next_at <= statement_timestamp() and state in ('due', 'calling', 'unknown', 'asking')
    order by next_at, id limit $7
), near as materialized (
    select id, key, next_at from front
    where key <> all (array(select key from running where running >= $3))
    order by next_at, id limit 4 * $2::bigint
), keys (key, next_at) as (
    -- Each key with its first row, one step of the index for each: only where a line of full keys fills the front, and no further
    -- than until enough are found.
    (select key, next_at from jobs
     where kind = $1 and key > $8 and state in ('due', 'calling', 'unknown', 'asking')
       and (select count(*) = $7 from front) and not exists (select from near)
       and (select coalesce(sum(running), 0)::bigint < $4::bigint from running)
     order by key, next_at limit 1)
    union all
    select n.key, n.next_at from keys k
    cross join lateral (
        select j.key, j.next_at from jobs j
        where j.kind = $1 and j.key > k.key and j.state in ('due', 'calling', 'unknown', 'asking')
        order by j.key, j.next_at limit 1
    ) n
), free as materialized (
    select k.key, $3 - coalesce((select r.running from running r where r.key = k.key), 0) as room
    from keys k
    where k.next_at <= statement_timestamp() and k.key <> all (array(select key from running where running >= $3))
    limit $2::bigint
), behind as materialized (
    select n.id, f.key, n.next_at from free f
    cross join lateral (
        select j.id, j.next_at from jobs j
        where j.kind = $1 and j.key = f.key and j.next_at <= statement_timestamp()
          and j.state in ('due', 'calling', 'unknown', 'asking')
        order by j.next_at limit f.room
    ) n
), found as materialized (
    select j.id, j.key, j.state, j.next_at from jobs j
    where j.kind = $1 and j.id = any (array(select id from near union all select id from behind))
      and j.next_at <= statement_timestamp() and j.state in ('due', 'calling', 'unknown', 'asking')
    for update skip locked
), placed as (
    select id, state, next_at, key, row_number() over (partition by key order by next_at, id) as place from found
), taken as (
    select id, state from placed left join running using (key)
    where place <= $3 - coalesce(running, 0)
    order by next_at, id
    limit greatest(0, least($2::bigint, $4::bigint - (select coalesce(sum(running), 0)::bigint from running)))
)
update jobs j
set state = case t.state when 'due' then 'calling' else 'asking' end,
    attempt = attempt + (t.state = 'due')::int,
    calls = calls + (t.state = 'due')::int,
    asks = asks + (t.state <> 'due')::int,
    called_at = case t.state when 'due' then statement_timestamp() else called_at end,
    failures = case when t.state in ('calling', 'asking') then
                   (case when jsonb_array_length(failures) >= 20 then failures - 0 else failures end)
                   || jsonb_build_object('at', statement_timestamp(), 'why', t.state || ': its process ended, or stood still')
               else failures end,
    holder = $5,
    next_at = statement_timestamp() + make_interval(secs => $6)
from taken t
where j.kind = $1 and j.id = t.id
returning j.id, j.key, j.intent as "intent: Json<Box<RawValue>>", j.state, t.state in ('calling', 'asking') as "is_orphan!",
          j.attempt, j.calls, j.asks, j.called_at as "called_at!",
          greatest(0, extract(epoch from statement_timestamp() - j.called_at))::float8 as "age_seconds!"
