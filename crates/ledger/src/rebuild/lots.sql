-- Where each lot's credits are.
select lot as subject,
       case when m.lot is null then 'no such lot'
            else format('%s: granted %s, remaining %s, held %s, consumed %s, reversed %s, expired %s, until %s', m.account,
                        trim_scale(m.granted), trim_scale(m.remaining), trim_scale(m.held), trim_scale(m.consumed),
                        trim_scale(m.reversed), trim_scale(m.expired), coalesce(m.expires_at::text, 'ever')) end as recorded,
       case when s.lot is null then 'no such lot'
            else format('%s: granted %s, remaining %s, held %s, consumed %s, reversed %s, expired %s, until %s', s.account,
                        trim_scale(s.granted), trim_scale(s.remaining), trim_scale(s.held), trim_scale(s.consumed),
                        trim_scale(s.reversed), trim_scale(s.expired), coalesce(s.expires_at::text, 'ever')) end as rebuilt
from main.lots m full join lots s using (lot)
where (m.account, m.payment, m.kind, m.granted, m.remaining, m.held, m.consumed, m.reversed, m.expired, m.expires_at)
   is distinct from
      (s.account, s.payment, s.kind, s.granted, s.remaining, s.held, s.consumed, s.reversed, s.expired, s.expires_at)
