-- An account's balances are the sums of its entries.
select account as "subject!",
       format('available %s, held %s, debt %s', trim_scale(coalesce(e.available, 0)), trim_scale(coalesce(e.held, 0)),
              trim_scale(coalesce(e.debt, 0))) as "expected!",
       case when a.available is null then 'no row of the account'
            else format('available %s, held %s, debt %s', trim_scale(a.available), trim_scale(a.held),
                        trim_scale(a.debt)) end as "got!"
from (select * from accounts where $1::text is null or account = $1) a
full join (select account,
                  sum(amount) filter (where book = 'available') as available,
                  sum(amount) filter (where book = 'held') as held,
                  sum(amount) filter (where book = 'debt') as debt
           from entries where $1::text is null or account = $1 group by account) e using (account)
where a.available is null
   or a.available <> coalesce(e.available, 0) or a.held <> coalesce(e.held, 0) or a.debt <> coalesce(e.debt, 0)
order by account limit $2
