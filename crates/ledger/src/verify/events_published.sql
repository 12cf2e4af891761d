-- What is committed is published soon after; a sweeper does it where a worker crashed.
select 'event ' || o.events[1] as "subject!",
       'published within a minute' as "expected!",
       format('%s events unpublished since %s', cardinality(o.events),
              to_char(o.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) as "got!"
from outbox o
where o.created_at < now() - interval '60 seconds'
  and ($1::text is null or exists (select from events e where e.id = any(o.events) and e.account = $1))
order by o.created_at, o.id limit $2
