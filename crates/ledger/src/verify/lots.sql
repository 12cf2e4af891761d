-- A lot's amounts are the sums of its entries in each book, and add up to what was granted.
select lot as "subject!",
       format('granted %s, remaining %s, held %s, consumed %s, reversed %s, expired %s',
              trim_scale(-coalesce(e.issued, 0)), trim_scale(coalesce(e.available, 0)), trim_scale(coalesce(e.held, 0)),
              trim_scale(coalesce(e.consumed, 0)), trim_scale(coalesce(e.reversed, 0)),
              trim_scale(coalesce(e.expired, 0))) as "expected!",
       case when l.granted is null then 'no such lot of ' || account
            else format('granted %s, remaining %s, held %s, consumed %s, reversed %s, expired %s',
                        trim_scale(l.granted), trim_scale(l.remaining), trim_scale(l.held), trim_scale(l.consumed),
                        trim_scale(l.reversed), trim_scale(l.expired)) end as "got!"
from (select * from lots where $1::text is null or account = $1) l
full join (select account, lot,
                  sum(amount) filter (where book = 'issued') as issued,
                  sum(amount) filter (where book = 'available') as available,
                  sum(amount) filter (where book = 'held') as held,
                  sum(amount) filter (where book = 'consumed') as consumed,
                  sum(amount) filter (where book = 'reversed') as reversed,
                  sum(amount) filter (where book = 'expired') as expired
           from entries where lot is not null and ($1::text is null or account = $1)
           group by account, lot) e using (account, lot)
where (l.granted is null
       -- Nothing of a lot is left where its payment was moved away.
       and (coalesce(e.issued, 0), coalesce(e.available, 0), coalesce(e.held, 0), coalesce(e.consumed, 0),
            coalesce(e.reversed, 0), coalesce(e.expired, 0)) <> (0, 0, 0, 0, 0, 0))
   or (l.granted, l.remaining, l.held, l.consumed, l.reversed, l.expired)
      <> (-coalesce(e.issued, 0), coalesce(e.available, 0), coalesce(e.held, 0), coalesce(e.consumed, 0),
          coalesce(e.reversed, 0), coalesce(e.expired, 0))
   or l.granted <> l.remaining + l.held + l.consumed + l.reversed + l.expired
   or least(l.remaining, l.held, l.consumed, l.reversed, l.expired) < 0
order by account, lot limit $2
