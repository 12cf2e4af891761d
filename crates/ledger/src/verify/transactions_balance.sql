-- Each half of a transaction adds up to zero: issued credits against where they are, debt against overdrawn.
select account || ' #' || number as "subject!",
       'entries that add up to 0' as "expected!",
       format('%s of credits, %s of debt', trim_scale(credits), trim_scale(debt)) as "got!"
from (select account, number,
             coalesce(sum(amount) filter (where book not in ('debt', 'overdrawn')), 0) as credits,
             coalesce(sum(amount) filter (where book in ('debt', 'overdrawn')), 0) as debt
      from entries where $1::text is null or account = $1
      group by account, number) halves
where credits <> 0 or debt <> 0
order by account, number limit $2
