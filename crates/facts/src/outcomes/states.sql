-- How each of these facts stands at each reader that is bound to its kind; one row without a reader where nobody is.
select i.source, i.id, i.kind, b.reader as "reader?", o.outcome as "outcome?", o.settled_at as "settled_at?", l.letter as "letter?",
       coalesce(o.outcome is null and exists (select from facts_given_up g
                                              where g.worker = b.reader and g.source = i.source and g.id = i.id), false)
         as "is_given_up!",
       coalesce(coalesce(i.recognised_at, i.admitted_at) >= r.since, false) as "is_expected!"
from (select distinct source, id from unnest($1::text[], $2::text[]) as n (source, id)) n
join inbox i on i.source = n.source and i.id = n.id
left join unnest($3::text[], $4::text[]) as b (kind, reader) on b.kind = i.kind
left join readers r on r.reader = b.reader and r.kind = b.kind
left join outcomes o on o.source = i.source and o.id = i.id and o.reader = b.reader
left join lateral (select letter from dead_letters d
                   where d.source = i.source and d.id = i.id and d.worker = b.reader and o.outcome is null
                     and d.state in ('open', 'replaying', 'discarded')
                   order by d.recorded_at desc limit 1) l on true
order by i.source, i.id, b.reader
