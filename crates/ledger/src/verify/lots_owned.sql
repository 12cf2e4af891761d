-- A payment's lot has the payment's name, and its account is the one that the payment was delivered to.
select l.lot as "subject!",
       'a lot of ' || coalesce(p.account, 'no account') || ' for a delivered payment' as "expected!",
       format('a lot of %s for %s, %s', l.account, l.payment, coalesce(p.state, 'unknown')) as "got!"
from lots l left join payments p using (payment)
where l.payment is not null and ($1::text is null or l.account = $1)
  and (p.state is distinct from 'delivered' or p.account <> l.account
       or l.lot <> l.payment || '#' || l.kind or l.kind not in ('purchase', 'bonus'))
order by l.lot limit $2
