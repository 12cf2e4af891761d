-- An account's transactions are numbered from 1 without gaps, up to what its row says. The key holds each number once.
select account as "subject!",
       case when stated is null then 'a row of the account' else 'numbers 1 to ' || stated end as "expected!",
       format('%s transactions from %s to %s', coalesce(counted, 0), first, last) as "got!"
from (select account, transactions as stated from accounts where $1::text is null or account = $1) a
full join (select account, count(*) as counted, min(number) as first, max(number) as last
           from transactions where $1::text is null or account = $1 group by account) t using (account)
where stated is null or stated <> coalesce(counted, 0) or coalesce(first, 1) <> 1 or coalesce(last, 0) <> stated
order by account limit $2
