-- Every admitted fact that a worker reads has an outcome. Those admitted just now are in flight.
select source || '/' || id as "subject!",
       'an outcome' as "expected!",
       format('%s, admitted %s and not settled: dead-lettered, or still queued', kind,
              to_char(admitted_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) as "got!"
from inbox i
where kind = any($1) and admitted_at < now() - interval '60 seconds'
  and not exists (select from ledger_facts f where f.source = i.source and f.id = i.id)
order by source, id limit $2
