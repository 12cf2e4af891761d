-- What was said of a payment is kept in the payment that its id leads to.
select f.source || '/' || f.id as "subject!",
       'a payment ' || f.payment || ' that its facts are kept in' as "expected!",
       'no such payment' as "got!"
from ledger_facts f
where f.payment is not null and not exists (select from payments p where p.payment = f.payment)
union all
select i.id, 'an id that leads to a payment, or to nothing', 'it leads to ' || i.payment || ', which is merged into another'
from payment_ids i join payments p using (payment) where p.state = 'merged' and i.id <> i.payment
order by 1 limit $1
