-- An account's balances and what restricts it, as of one moment. $1: the account.
select available, held, debt, sequence,
       (select coalesce(jsonb_agg(jsonb_build_object('kind', r.kind, 'cause', r.cause_kind,
                                                     'case', case when r.cause_kind = 'case' then r.cause end,
                                                     'by', case when r.cause_kind = 'operator' then r.cause end,
                                                     'since', r.since)
                                  order by array_position(array['access', 'checkout', 'balance'], r.kind::text), r.since,
                                           r.cause, r.stage), '[]')
        from restrictions r where r.account = a.account and r.ended_at is null)
           as "restrictions!: Json<Vec<Restriction>>"
from accounts a
where account = $1
