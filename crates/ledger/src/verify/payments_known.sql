-- What was said of a payment is kept in a payment; one that turned out to be another leads to it.
select f.source || '/' || f.id as "subject!",
       'a payment ' || f.payment || ' that its facts are kept in' as "expected!",
       'no such payment' as "got!"
from outcomes f
where f.reader = 'ledger' and f.payment is not null and not exists (select from payments p where p.payment = f.payment)
union all
select m.payment, 'a payment ' || m.merged_into || ' that it turned out to be', 'no such payment'
from payments m
where m.merged_into is not null and not exists (select from payments p where p.payment = m.merged_into)
order by 1 limit $1
