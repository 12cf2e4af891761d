-- Letters whose message was passed on, and what became of its fact at those readers who have the last word of it.
with passed_on as materialized (
    select replay, letter, outcome, published_at from replay_letters
    where state = 'published' and outcome is not null and (replay, letter) > ($5, $6)
    order by replay, letter limit $1 for update skip locked
), bound as materialized (
    select * from unnest($2::text[], $3::text[]) as b (kind, reader)
), found as materialized (
    select p.*, l.source, l.id, l.queue, l.worker, i.kind, coalesce(i.recognised_at, i.admitted_at) as admitted_at,
           exists (select from forgone_facts g where g.source = l.source and g.id = l.id) as is_forgone
    from passed_on p
    left join dead_letters l using (letter)
    left join lateral (select kind, admitted_at, recognised_at from inbox i where i.source = l.source and i.id = l.id limit 1) i
      on true
), concerned as materialized (
    -- A letter of a reader is that reader's own; what was given up on before it was admitted is for all who read its kind.
    select replay, letter, worker as reader from found where queue <> all ($7)
    union
    select f.replay, f.letter, b.reader from found f join bound b on b.kind = f.kind or f.kind is null where f.queue = any ($7)
), heard as materialized (
    select c.reader, f.replay, f.letter, f.published_at, o.outcome as settled,
           n.letter as next, n.code, n.outcome as next_outcome, n.told_at, n.state = 'resolved' as is_next_resolved,
           n.told_at > f.published_at as is_next_new,
           exists (select from forgone_facts g where g.source = f.source and g.id = f.id and g.worker = c.reader) as is_forgone,
           -- Admitted before the reader came: nobody has told it.
           coalesce(f.admitted_at < r.since, false) as is_not_its_own
    from concerned c
    join found f using (replay, letter)
    left join readers r on r.reader = c.reader and r.kind = f.kind
    left join lateral (
        select outcome from outcomes o where o.source = f.source and o.id = f.id and o.reader = c.reader limit 1) o on true
    left join lateral (
        select letter, code, state, outcome, told_at from dead_letters n
        where n.source = f.source and n.id = f.id and n.letter <> f.letter and n.worker = c.reader and n.queue <> ''
        order by n.state in ('dead_again', 'edited'), n.told_at desc limit 1) n on true
), said as materialized (
    select *, case when next is not null and not is_next_resolved and (is_next_new or coalesce(settled, 'refused') = 'refused')
                   then 'dead_again'
                   when settled <> 'refused' or next is not null or is_forgone or is_not_its_own then 'resolved' end as state
    from heard
), at_the_gate as materialized (
    -- What the ingester passed on may have died at the gate since.
    select f.replay, f.letter, n.letter as next, n.code, n.outcome as next_outcome, n.state = 'resolved' as is_resolved
    from found f
    cross join lateral (
        select letter, code, state, outcome from dead_letters n
        where n.source = f.source and n.id = f.id and n.letter <> f.letter and n.queue = any ($7) and n.queue <> ($7)[1]
          and n.told_at > f.published_at
        order by n.state in ('dead_again', 'edited'), n.told_at desc limit 1) n
    where f.queue = ($7)[1]
), died as materialized (
    select distinct on (replay, letter) replay, letter, next, code from (
        select replay, letter, next, code, told_at from said where state = 'dead_again'
        union all
        select replay, letter, next, code, 'infinity' from at_the_gate where not is_resolved) d
    order by replay, letter, told_at desc
), together as materialized (
    select replay, letter, count(*) as readers, count(state) as decided,
           string_agg(distinct coalesce(nullif(settled, 'refused'), next_outcome, case when is_forgone then 'given_up' end), ',')
             as words
    from said group by replay, letter
), judged as (
    select f.replay, f.letter, d.next, d.code,
           case when d.next is not null then 'dead_again'
                when t.readers = t.decided or g.is_resolved or f.source is null or f.is_forgone and (t.readers is null or f.kind is null)
                  or not exists (select from bound b where b.kind = f.kind) and f.kind is not null
                then 'resolved'
                when f.published_at < now() - make_interval(secs => $8) then 'released' end as state,
           concat_ws(',', f.outcome, coalesce(t.words, g.next_outcome, case when f.is_forgone then 'given_up' end)) as resolution
    from found f
    left join died d using (replay, letter)
    left join together t using (replay, letter)
    left join at_the_gate g using (replay, letter)
), closed as (
    select replay, letter, next, state,
           case state when 'dead_again' then code when 'released' then 'its outcome never came' else resolution end as outcome
    from judged where state is not null
), replays as (
    update replay_letters r set state = c.state, outcome = c.outcome, settled_at = $4
    from closed c where r.letter = c.letter and r.replay = c.replay
), letters as (
    update dead_letters l
    set state = case c.state when 'released' then 'open' else c.state end,
        outcome = case c.state when 'released' then null else c.outcome end,
        closed_at = case c.state when 'released' then null else $4::timestamptz end,
        closed_by = case c.state when 'released' then null else 'replay ' || c.replay end
    from closed c
    where l.letter = c.letter and l.replay = c.replay and l.state in ('replaying', 'open')
), linked as (
    update dead_letters d
    set previous = c.letter, replay = case d.state when 'open' then c.replay else d.replay end
    from closed c where d.letter = c.next and c.state = 'dead_again' and d.previous is null
)
select count(*) as "looked_at!", (select count(*) from closed) as "closed!",
       (select replay from passed_on order by replay desc, letter desc limit 1) as replay,
       (select letter from passed_on order by replay desc, letter desc limit 1) as letter
from passed_on
