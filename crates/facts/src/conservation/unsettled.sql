-- Every admitted fact has an outcome at each of its readers, or a dead letter that somebody has to deal with or has decided about.
-- Those admitted or recognised just now are in flight, or
-- rest on the retry ladder: the default one takes some 70 seconds. A replay resolves a letter by an outcome: one that is resolved stands
-- for no fact without.
select i.source || '/' || i.id as "subject!",
       'an outcome, or a dead letter' as "expected!",
       format('%s, %s %s and not settled%s: %s', i.kind,
              case when recognised_at is null then 'admitted' else 'recognised' end,
              to_char(coalesce(recognised_at, admitted_at) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
              case when array_length($2::text[], 1) > array_length(array_positions($2::text[], b.reader), 1)
                   then ' by ' || b.reader else '' end,
              case when exists (select from dead_letters d
                                where d.source = i.source and d.id = i.id and d.worker = b.reader)
                   then 'its dead letters are resolved' else 'still queued, or lost' end) as "got!"
from inbox i
join unnest($1::text[], $2::text[]) as b (kind, reader) on b.kind = i.kind
join readers r on r.reader = b.reader and r.kind = b.kind
where coalesce(recognised_at, admitted_at) < now() - interval '5 minutes'
  and coalesce(recognised_at, admitted_at) >= r.since
  and not exists (select from outcomes o where o.source = i.source and o.id = i.id and o.reader = b.reader)
  and not exists (select from facts_given_up g where g.worker = b.reader and g.source = i.source and g.id = i.id)
order by i.source, i.id, b.reader limit $3
