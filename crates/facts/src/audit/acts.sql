-- What operators did, from each place that it is written down in, in one shape, the latest first. Of each place the latest are
-- read first, so that no place is read whole where few acts are wanted.
-- $1 account, $2 operator, $3 subject, $4 the same as a uuid, $5 since, $6 until, $7 limit
with recursive sources as (
    -- Few operators, very many facts: the operators' sources are found by leaps through the inbox's key.
    (select source from inbox where source >= 'operator/' order by source limit 1)
    union all
    select (select i.source from inbox i where i.source > s.source order by i.source limit 1)
    from sources s where s.source < 'operator0'
), facts as (
    select 'fact' as place, 0::bigint as number, i.admitted_at as at, substr(s.source, length('operator/') + 1) as by,
           null::text as worker, i.kind as act, case when o.payment is not null then 'payment' end as subject_kind,
           o.payment as subject, p.account, null::text as reason, null::json as details,
           s.source, i.id, i.fact, i.repeats
    from sources s
    -- By its key for each source, however many rows are expected.
    cross join lateral (
        select f.id, f.kind, f.fact, f.repeats, f.admitted_at from inbox f
        where f.source = s.source and ($5::timestamptz is null or f.admitted_at >= $5)
          and ($6::timestamptz is null or f.admitted_at < $6)
        offset 0
    ) i
    cross join lateral (
        select max(f.payment) as payment from outcomes f where f.source = s.source and f.id = i.id offset 0
    ) o
    left join lateral (select account from payments where payment = o.payment offset 0) p on true
    where starts_with(s.source, 'operator/') and ($2::text is null or s.source = 'operator/' || $2)
      and ($1::text is null or p.account = $1
           or $1 in (i.fact::jsonb ->> 'account', i.fact::jsonb #>> '{account,account}'))
      and ($3::text is null
           or $3 in (o.payment, s.source || '/' || i.id, i.fact::jsonb ->> 'payment', i.fact::jsonb ->> 'customer',
                     i.fact::jsonb ->> 'account', i.fact::jsonb #>> '{account,account}',
                     split_part(i.fact::jsonb ->> 'payment', ':', 1) || ':' || (i.fact::jsonb ->> 'dispute')))
    order by i.admitted_at desc, s.source, i.id limit $7
), letters as (
    select 'dead_letter_audit', a.number, a.at, a.by, 'dead-letters', a.action,
           case when a.letter is not null then 'letter' when a.replay is not null then 'replay'
                when a.fingerprint is not null then 'fingerprint' end,
           coalesce(a.letter::text, a.replay::text, a.fingerprint),
           coalesce((select d.account from dead_letters d where d.letter = a.letter), a.filter ->> 'account'),
           a.reason, json_strip_nulls(json_build_object('letters', a.letters, 'filter', a.filter, 'result', a.result)),
           null::text, null::text, null::text, 0
    from dead_letter_audit a
    -- What retention deletes nobody does.
    where not (a.action = 'purge' and a.by = 'retention')
      and ($2::text is null or a.by = $2)
      and ($5::timestamptz is null or a.at >= $5) and ($6::timestamptz is null or a.at < $6)
      and ($1::text is null or a.filter ->> 'account' = $1
           or a.letter in (select letter from dead_letters where account = $1)
           or a.number in (select l.number from dead_letter_audit_letters l join dead_letters d using (letter) where d.account = $1)
           or a.replay in (select r.replay from replay_letters r join dead_letters d using (letter) where d.account = $1))
      and ($3::text is null or a.fingerprint = $3 or a.filter ->> 'account' = $3 or a.letter = $4::uuid or a.replay = $4
           or a.number in (select number from dead_letter_audit_letters where letter = $4)
           or a.replay in (select replay from replay_letters where letter = $4))
    order by a.at desc, a.number desc limit $7
), erased as (
    -- `about` is a kind and an id: `account acct_42`.
    select 'erasures', e.number, e.at, e.by, 'gate', 'erase', split_part(e.about, ' ', 1),
           substr(e.about, strpos(e.about, ' ') + 1),
           case when starts_with(e.about, 'account ') then substr(e.about, length('account ') + 1) end,
           e.reason, json_build_object('facts', e.facts, 'bodies', e.bodies, 'letters', e.letters),
           null::text, null::text, null::text, 0
    from erasures e
    where not (e.about = 'retention' and e.by = 'retention')
      and ($2::text is null or e.by = $2)
      and ($5::timestamptz is null or e.at >= $5) and ($6::timestamptz is null or e.at < $6)
      and ($1::text is null or e.about = 'account ' || $1)
      and ($3::text is null or substr(e.about, strpos(e.about, ' ') + 1) = $3)
    order by e.at desc, e.number desc limit $7
), handed_over as (
    select 'hand_overs', 0, h.began_at, h.by, h.reader, 'hand_over', 'kind', h.kind, null, null,
           json_build_object('hand_over', h.hand_over, 'state', h.state, 'facts', h.facts, 'handed_over', h.handed_over,
                             'left_out', h.left_out, 'unreadable', h.unreadable),
           null::text, null::text, null::text, 0
    from hand_overs h
    where $1::text is null and ($2::text is null or h.by = $2)
      and ($3::text is null or $3 in (h.kind, h.reader) or h.hand_over = $4::uuid)
      and ($5::timestamptz is null or h.began_at >= $5) and ($6::timestamptz is null or h.began_at < $6)
    order by h.began_at desc, h.hand_over limit $7
), others as (
    select 'audit', a.number, a.at, a.by, a.worker, a.act, a.subject_kind, a.subject, a.account, a.reason, a.details,
           null::text, null::text, null::text, 0
    from audit a
    where ($1::text is null or a.account = $1) and ($2::text is null or a.by = $2) and ($3::text is null or a.subject = $3)
      and ($5::timestamptz is null or a.at >= $5) and ($6::timestamptz is null or a.at < $6)
    order by a.at desc, a.number desc limit $7
)
select at as "at!", by as "by!", worker, act as "act!", subject_kind, subject, account, reason,
       details, source, id, fact, repeats as "repeats!"
from (select * from facts union all select * from letters union all select * from erased
      union all select * from handed_over union all select * from others) a
order by at desc, place, number desc, source, id limit $7
