-- An account's balances and what restricts it, as of one moment. $1: the account. One reason stands once, since the first of its
-- causes: the rule of risk may have been fulfilled several times.
select available, held, debt, sequence,
       (select coalesce(jsonb_agg(jsonb_build_object('kind', r.kind, 'cause', r.cause_kind,
                                                     'case', case when r.cause_kind = 'case' then r.cause end,
                                                     'by', case when r.cause_kind = 'operator' then r.cause end,
                                                     'since', r.since)
                                  order by array_position(array['access', 'checkout', 'balance'], r.kind::text), r.since,
                                           r.cause), '[]')
        from (select kind, cause_kind, cause, min(since) as since from restrictions
              where account = a.account and ended_at is null
              group by kind, cause_kind, cause) r)
           as "restrictions!: Json<Vec<Restriction>>"
from accounts a
where account = $1
