-- Every admitted fact that a worker reads has an outcome, or a dead letter that somebody has to deal with or has decided about.
-- Those admitted or recognised just now are in flight, or
-- rest on the retry ladder: the default one takes some 70 seconds. A replay resolves a letter by an outcome: one that is resolved stands
-- for no fact without.
select source || '/' || id as "subject!",
       'an outcome, or a dead letter' as "expected!",
       format('%s, %s %s and not settled: %s', kind,
              case when recognised_at is null then 'admitted' else 'recognised' end,
              to_char(coalesce(recognised_at, admitted_at) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
              case when exists (select from dead_letters d
                                where d.source = i.source and d.id = i.id and d.worker = 'ledger')
                   then 'its dead letters are resolved' else 'still queued, or lost' end) as "got!"
from inbox i
where kind = any($1) and coalesce(recognised_at, admitted_at) < now() - interval '5 minutes'
  and not exists (select from ledger_facts f where f.source = i.source and f.id = i.id)
  and not exists (select from facts_given_up g where g.worker = 'ledger' and g.source = i.source and g.id = i.id)
order by source, id limit $2
