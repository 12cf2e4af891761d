-- Cases whose payment went to another account, or whose account somebody may vouch for by now; and early warnings that a dispute
-- took over while nobody held both.
(select d.dispute as "dispute!", d.payment_ids as "payment_ids!"
 from disputes d join payments p on p.payment = d.payment
 where d.account is not null
   and (p.account is distinct from d.account or d.is_claimed and p.updated_at > d.updated_at - interval '1 minute')
 limit $1)
union
(select w.dispute, w.payment_ids
 from disputes w
 where w.state = 'warning' and w.is_early_warning and w.payment is not null and w.told ->> 'joined' is null
   and exists (select from disputes d where d.payment = w.payment and not d.is_early_warning)
 limit $1)
