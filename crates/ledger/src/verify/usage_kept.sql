-- Usage is carried by lots or is debt, and only usage, and what an operator takes away, changes their sum: nothing else
-- makes or loses any.
select t.account || ' #' || t.number as "subject!",
       case t.kind when 'usage' then 'usage of more than 0' else 'no change of consumed credits and debt together' end
         as "expected!",
       trim_scale(coalesce(carried, 0)) || ' by a ' || t.kind as "got!"
from transactions t
join (select account, number, sum(amount) filter (where book in ('consumed', 'debt')) as carried
      from entries where $1::text is null or account = $1 group by account, number) e
  on e.account = t.account and e.number = t.number
where coalesce(carried, 0) < 0
   or (coalesce(carried, 0) > 0 and t.kind not in ('usage', 'adjustment'))
   or (coalesce(carried, 0) = 0 and t.kind = 'usage')
order by t.account, t.number limit $2
