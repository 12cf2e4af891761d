-- Facts about disputes that were settled, and what the records hold.
with settled as (
    select i.source || '/' || i.id as cause,
           split_part(i.fact::json ->> 'payment', ':', 1) || ':' || (i.fact::json ->> 'dispute') as dispute
    from outcomes o join inbox i on i.source = o.source and i.id = o.id
    where o.reader = 'disputes' and o.kind = 'fact.dispute' and o.outcome <> 'refused'
), recorded as (
    select seen.cause, d.dispute from disputes d cross join lateral json_object_keys(d.record -> 'observations') seen (cause)
)
select coalesce(s.cause, r.cause) as "cause!",
       coalesce('in the record of ' || s.dispute, 'in no record') as "expected!",
       coalesce('in that of ' || r.dispute, 'in none') as "got!"
from settled s full join recorded r on r.cause = s.cause and r.dispute = s.dispute
where s.cause is null or r.cause is null
limit $1
