-- An account's row carries the hash that the chain of its events ends in; and an event of no account is a chain of its own.
(select account || ' event ' || greatest(a.sequence, coalesce(e.sequence, 0)) as "subject!",
        format('event %s as the last, its hash %s', a.sequence, encode(a.events_head, 'hex')) as "expected!",
        coalesce(format('event %s as the last, its hash %s', e.sequence, encode(e.hash, 'hex')), 'no event') as "got!"
 from accounts a
 left join lateral (select sequence, hash from events e where e.account = a.account order by sequence desc limit 1) e on true
 where ($1::text is null or a.account = $1)
   and (a.sequence, a.events_head) <> (coalesce(e.sequence, 0), coalesce(e.hash, decode(repeat('00', 32), 'hex')))
 order by a.account limit $2)
union all
(select 'event ' || id, encode(should, 'hex'), encode(hash, 'hex')
 from events e
 cross join lateral (select sha256(
        decode(repeat('00', 32), 'hex')
        || convert_to(e.id::text, 'UTF8') || '\x000000'
        || convert_to(e.type, 'UTF8') || '\x00'
        || convert_to(e.source, 'UTF8') || '\x00'
        || convert_to(e.cause, 'UTF8') || '\x00'
        || convert_to((extract(epoch from e.time) * 1000000)::bigint::text, 'UTF8') || '\x00'
        || convert_to(coalesce(e.traceparent, ''), 'UTF8') || '\x00'
        || convert_to(e.data::text, 'UTF8') || '\x00') as should) s
 where $1::text is null and account is null and hash <> should
 order by id limit $2)
