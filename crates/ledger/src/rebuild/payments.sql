-- What was made of each payment, and what is known of it.
select payment as subject,
       case when m.payment is null then 'unknown'
            else format('%s, account %s, catalog %s, of %s %s: %s reversed, %s held%s', m.state, coalesce(m.account, 'none'),
                        coalesce(m.catalog, 'none'), trim_scale(m.amount), m.currency, trim_scale(m.reversed_amount),
                        trim_scale(m.held_amount), case when m.record::jsonb is distinct from s.record::jsonb then ', another record' end)
            end as recorded,
       case when s.payment is null then 'unknown'
            else format('%s, account %s, catalog %s, of %s %s: %s reversed, %s held', s.state, coalesce(s.account, 'none'),
                        coalesce(s.catalog, 'none'), trim_scale(s.amount), s.currency, trim_scale(s.reversed_amount),
                        trim_scale(s.held_amount)) end as rebuilt
from main.payments m full join payments s using (payment)
where (m.state, m.account, m.catalog, m.customers, m.merged_into, m.record::jsonb, m.amount, m.currency, m.reversed_amount,
       m.held_amount)
   is distinct from
      (s.state, s.account, s.catalog, s.customers, s.merged_into, s.record::jsonb, s.amount, s.currency, s.reversed_amount,
       s.held_amount)
