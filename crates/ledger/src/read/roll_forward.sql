with entry as (
    select e.account, e.lot, e.book, e.amount, t.kind,
           t.at < $1 as before, t.at < $2 as until, t.at >= $1 and t.at < $2 as within,
           case when e.book in ('available', 'held') then e.amount when e.book = 'debt' then -e.amount else 0 end
             as balance,
           t.kind in ('adjustment', 'write_off', 'move') as by_operator
    from entries e join transactions t using (account, number)
    where $3::text is null or e.account = $3
),
-- What became of each lot in each account; debt belongs to no lot.
moved as (
    select account, lot,
           coalesce(sum(balance) filter (where before), 0) as opening,
           coalesce(sum(-amount) filter (where within and not by_operator and book = 'issued'), 0) as granted,
           coalesce(sum(amount) filter (where within and not by_operator and book in ('consumed', 'debt')), 0)
             as consumed,
           coalesce(sum(amount) filter (where within and not by_operator and book = 'reversed'
                                          and kind <> 'restoration'), 0) as reversed,
           coalesce(sum(-amount) filter (where within and not by_operator and book = 'reversed'
                                           and kind = 'restoration'), 0) as restored,
           coalesce(sum(amount) filter (where within and not by_operator and book = 'expired'), 0) as expired,
           coalesce(sum(balance) filter (where within and by_operator), 0) as adjusted,
           coalesce(sum(balance) filter (where until), 0) as closing,
           sum(balance) as today
    from entry group by account, lot
),
-- Sixty places: what is lost behind them is far below half a unit of any currency, however much is added up.
priced as (
    select l.lot, p.currency, round(p.amount, 60) / nullif(own.granted, 0) as price
    from (select distinct lot from moved) m
    join lots l using (lot)
    join payments p on p.payment = l.payment
    cross join lateral (
        select sum(granted) as granted from lots
        where lot = any(array[p.payment || '#purchase', p.payment || '#bonus'])) own
    where p.amount is not null and own.granted > 0
),
line as (
    select account, null::text as currency, sum(opening) as opening, sum(granted) as granted,
           sum(consumed) as consumed, sum(reversed) as reversed, sum(restored) as restored, sum(expired) as expired,
           sum(adjusted) as adjusted, sum(closing) as closing, sum(today) as today
    from moved group by grouping sets ((account), ())
    union all
    select account, currency, sum(opening * price), sum(granted * price), sum(consumed * price),
           sum(reversed * price), sum(restored * price), sum(expired * price), sum(adjusted * price),
           sum(closing * price), null
    from moved join priced using (lot) group by grouping sets ((account, currency), (currency))
)
select line.account as "account?", line.currency as "currency?",
       trim_scale(round(opening, 30))::text as "opening!",
       trim_scale(round(granted, 30))::text as "granted!",
       trim_scale(round(consumed, 30))::text as "consumed!",
       trim_scale(round(reversed, 30))::text as "reversed!",
       trim_scale(round(restored, 30))::text as "restored!",
       trim_scale(round(expired, 30))::text as "expired!",
       trim_scale(round(adjusted, 30))::text as "adjusted!",
       trim_scale(round(closing, 30))::text as "closing!",
       opening + granted - consumed - reversed + restored - expired + adjusted = closing
         and (line.currency is not null or line.account is null or today = a.available + a.held - a.debt)
         as "adds_up!"
from line left join accounts a on a.account = line.account
where closing is not null
order by line.account nulls last, line.currency nulls first
