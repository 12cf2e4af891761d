-- Cases of nobody whose payment is known, or somebody's, by now; and open cases whose payment went to another account.
(select d.dispute as "dispute!", d.payment_ids as "payment_ids!"
 from disputes d
 where d.account is null
   and exists (select from unnest(d.payment_ids) n (id)
               join payment_ids i on i.id = n.id collate "C" join payments p on p.payment = i.payment
               where p.state in ('undelivered', 'delivered') and (p.account is not null or d.payment is null))
 limit $1)
union all
(select d.dispute, d.payment_ids
 from disputes d join payments p on p.payment = d.payment
 where d.state in ('warning', 'open', 'under_review', 'reopened') and d.account is not null
   and p.account is distinct from d.account
 limit $1)
