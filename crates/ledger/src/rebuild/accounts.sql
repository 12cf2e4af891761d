-- Balances and the number of the ledger's own events: other workers emit events of an account, too. An account that was opened
-- and never moved is none.
with told as (
    select account, count(*) as events from main.events
    where source = 'bursar/ledger' and account is not null group by account
)
select account as subject,
       format('available %s, held %s, debt %s, %s events', trim_scale(coalesce(m.available, 0)),
              trim_scale(coalesce(m.held, 0)), trim_scale(coalesce(m.debt, 0)), coalesce(t.events, 0)) as recorded,
       format('available %s, held %s, debt %s, %s events', trim_scale(coalesce(s.available, 0)),
              trim_scale(coalesce(s.held, 0)), trim_scale(coalesce(s.debt, 0)), coalesce(s.sequence, 0)) as rebuilt
from main.accounts m full join accounts s using (account) left join told t using (account)
where (coalesce(m.available, 0), coalesce(m.held, 0), coalesce(m.debt, 0), coalesce(t.events, 0))
   <> (coalesce(s.available, 0), coalesce(s.held, 0), coalesce(s.debt, 0), coalesce(s.sequence, 0))
