-- Where the admitted facts are, at each reader that is bound to their kind.
with bound as (
    select b.kind, b.reader, coalesce(r.since, 'infinity') as since
    from unnest($1::text[], $2::text[]) as b (kind, reader) left join readers r on r.reader = b.reader and r.kind = b.kind
), admitted as (
    select b.reader, count(*) as admitted from inbox i join bound b on b.kind = i.kind group by b.reader
), without_outcome as (
    select b.reader, coalesce(i.recognised_at, i.admitted_at) >= b.since as is_expected,
           exists (select from facts_given_up g
                   where g.worker = b.reader and g.source = i.source and g.id = i.id) as given_up
    from inbox i join bound b on b.kind = i.kind
    where not exists (select from outcomes o where o.source = i.source and o.id = i.id and o.reader = b.reader)
), open as (
    select reader, count(*) filter (where given_up) as dead_lettered,
           count(*) filter (where not given_up and is_expected) as in_flight,
           count(*) filter (where not given_up and not is_expected) as not_handed_over
    from without_outcome group by reader
), settled as (
    select reader, count(*) filter (where outcome = 'applied') as applied, count(*) filter (where outcome = 'no_op') as no_op,
           count(*) filter (where outcome = 'waiting') as waiting, count(*) filter (where outcome = 'ignored') as ignored,
           count(*) filter (where outcome = 'contradicts') as contradicts,
           count(*) filter (where outcome = 'refused') as refused
    from outcomes group by reader
)
select b.reader as "reader!", coalesce(a.admitted, 0) as "admitted!", coalesce(w.not_handed_over, 0) as "not_handed_over!",
       coalesce(w.dead_lettered, 0) as "dead_lettered!", coalesce(w.in_flight, 0) as "in_flight!",
       coalesce(s.applied, 0) as "applied!", coalesce(s.no_op, 0) as "no_op!", coalesce(s.waiting, 0) as "waiting!",
       coalesce(s.ignored, 0) as "ignored!", coalesce(s.contradicts, 0) as "contradicts!", coalesce(s.refused, 0) as "refused!"
from (select distinct reader from bound) b
left join admitted a on a.reader = b.reader
left join open w on w.reader = b.reader
left join settled s on s.reader = b.reader
order by b.reader
