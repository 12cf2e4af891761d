-- Where the facts are of the kinds that one reader is bound to.
-- $1 reader, $2 its kinds, $3 those of them of which it does not have what was admitted before it came, $4 facts of its kinds
with without_outcome as (
    -- Of a kind of which the reader has all no time is asked.
    select i.kind <> all($3::text[])
           or coalesce(coalesce(i.recognised_at, i.admitted_at)
                       >= (select r.since from readers r where r.reader = $1 and r.kind = i.kind), false) as is_expected,
           exists (select from facts_given_up g
                   where g.worker = $1 and g.source = i.source and g.id = i.id) as given_up
    from inbox i
    where i.kind = any($2::text[])
      and not exists (select from outcomes o where o.source = i.source and o.id = i.id and o.reader = $1)
), open as (
    select count(*) filter (where given_up) as dead_lettered,
           count(*) filter (where not given_up and is_expected) as in_flight,
           count(*) filter (where not given_up and not is_expected) as not_handed_over
    from without_outcome
), settled as (
    select count(*) filter (where outcome = 'applied') as applied, count(*) filter (where outcome = 'no_op') as no_op,
           count(*) filter (where outcome = 'waiting') as waiting, count(*) filter (where outcome = 'ignored') as ignored,
           count(*) filter (where outcome = 'contradicts') as contradicts,
           count(*) filter (where outcome = 'refused') as refused
    from outcomes where reader = $1
)
select $1 as "reader!", $4::bigint as "admitted!", w.not_handed_over as "not_handed_over!",
       w.dead_lettered as "dead_lettered!", w.in_flight as "in_flight!",
       s.applied as "applied!", s.no_op as "no_op!", s.waiting as "waiting!",
       s.ignored as "ignored!", s.contradicts as "contradicts!", s.refused as "refused!"
from open w cross join settled s
