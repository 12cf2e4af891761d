-- No entry stands outside a transaction.
select account || ' #' || number as "subject!",
       'a transaction that the entries belong to' as "expected!",
       format('%s entries without one', count(*)) as "got!"
from entries e
where ($1::text is null or account = $1)
  and not exists (select from transactions t where t.account = e.account and t.number = e.number)
group by account, number
order by account, number limit $2
