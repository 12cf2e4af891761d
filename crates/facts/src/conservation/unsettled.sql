-- Every admitted fact has an outcome at its reader, or a dead letter that somebody has to deal with or has decided about.
-- Those admitted or recognised just now are in flight, or
-- rest on the retry ladder: the default one takes some 70 seconds. A replay resolves a letter by an outcome: one that is resolved stands
-- for no fact without.
-- $1 reader, $2 its kinds, $3 those of them of which it does not have what was admitted before it came, $4 whether it is named,
-- $5 limit
select i.source as "source!", i.id as "id!",
       format('%s, %s %s and not settled%s: %s', i.kind,
              case when recognised_at is null then 'admitted' else 'recognised' end,
              to_char(coalesce(recognised_at, admitted_at) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
              case when $4 then ' by ' || $1::text else '' end,
              case when exists (select from dead_letters d
                                where d.source = i.source and d.id = i.id and d.worker = $1)
                   then 'its dead letters are resolved' else 'still queued, or lost' end) as "got!"
from inbox i
where i.kind = any($2::text[])
  and coalesce(recognised_at, admitted_at) < now() - interval '5 minutes'
  and (i.kind <> all($3::text[])
       or coalesce(recognised_at, admitted_at)
          >= (select r.since from readers r where r.reader = $1 and r.kind = i.kind))
  and not exists (select from outcomes o where o.source = i.source and o.id = i.id and o.reader = $1)
  and not exists (select from facts_given_up g where g.worker = $1 and g.source = i.source and g.id = i.id)
order by i.source, i.id limit $5
