-- Cases of nobody whose payment is known, or somebody's, by now. $2: only those that came since then.
select d.dispute as "dispute!", d.payment_ids as "payment_ids!"
from disputes d
where d.account is null and d.created_at >= $2
  and exists (select from unnest(d.payment_ids) n (id)
              join payment_ids i on i.id = n.id collate "C" join payments p on p.payment = i.payment
              where p.state in ('undelivered', 'delivered') and (p.account is not null or d.payment is null))
order by d.created_at desc limit $1
