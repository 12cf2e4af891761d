-- Credits that are available take over usage that is debt.
select account as "subject!",
       'no credits available while there is debt' as "expected!",
       format('available %s, debt %s', trim_scale(available), trim_scale(debt)) as "got!"
from accounts
where available > 0 and debt > 0 and ($1::text is null or account = $1)
order by account limit $2
