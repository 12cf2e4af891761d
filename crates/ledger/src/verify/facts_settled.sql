-- Every admitted fact that a worker reads has an outcome. Those admitted or recognised just now are in flight.
select source || '/' || id as "subject!",
       'an outcome' as "expected!",
       format('%s, %s %s and not settled: dead-lettered, or still queued', kind,
              case when recognised_at is null then 'admitted' else 'recognised' end,
              to_char(coalesce(recognised_at, admitted_at) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) as "got!"
from inbox i
where kind = any($1) and coalesce(recognised_at, admitted_at) < now() - interval '60 seconds'
  and not exists (select from ledger_facts f where f.source = i.source and f.id = i.id)
order by source, id limit $2
