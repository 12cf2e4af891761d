-- What restricts, and what did, the latest first. Reasons of operators stand in the facts alone.
-- $1 account, $2 case, $3 limit
select r.kind, r.cause_kind, r.cause, r.stage, r.since, r.ended_at, r.lifted_by,
       (select i.fact::json ->> 'reason' from inbox i
        where r.cause_kind = 'operator' and i.source = 'operator/' || r.cause
          and i.id = substr(r.stage, length('operator/' || r.cause || '/') + 1)) as reason,
       (select min(i.fact::json ->> 'reason') from outcomes o join inbox i on i.source = o.source and i.id = o.id
        where o.source = 'operator/' || r.lifted_by and o.reader = 'disputes' and o.kind = 'fact.restriction'
          and o.settled_at = r.ended_at and i.fact::json ->> 'account' = r.account
          and i.fact::json ->> 'kind' = r.kind) as lifted_reason
from restrictions r
where ($1::text is null or r.account = $1) and ($2::text is null or r.cause_kind = 'case' and r.cause = $2)
order by r.since desc, r.kind, r.cause, r.stage
limit $3
