-- Every usage, grant and adjustment that was applied is one transaction with its amount, and every such transaction is of a fact.
-- What is written off is at most what was stated. A fact that the gate is about to commit has no amount here yet.
select coalesce(source, '') || '/' || id as "subject!",
       case when f.kind is null then 'an applied fact for each posting'
            else coalesce(trim_scale(stated)::text || ' credits', 'its credits') || ', posted once' || coalesce(' for ' || whose, '') end as "expected!",
       case when posted is null then 'no transaction'
            else format('%s credits in %s transactions of %s', trim_scale(credits), posted, p.account) end as "got!"
from (select source, id, kind from outcomes
      where reader = 'ledger' and kind in ('fact.usage', 'fact.grant', 'fact.adjustment') and outcome = 'applied') f
full join (select t.cause_source as source, t.cause_id as id,
                  count(distinct (t.account, t.number)) as posted,
                  bool_or(t.kind = 'write_off') as at_most,
                  min(t.account) as account,
                  coalesce(sum(e.amount) filter (where t.kind = 'usage' and e.book in ('consumed', 'debt')), 0)
                    - coalesce(sum(e.amount) filter (where t.kind = 'adjustment' and e.book in ('consumed', 'debt')), 0)
                    - coalesce(sum(e.amount) filter (where t.kind <> 'usage' and e.book = 'issued'), 0) as credits
           from transactions t join entries e using (account, number)
           where t.kind in ('usage', 'adjustment', 'write_off') or (t.kind = 'grant' and t.payment is null)
           group by t.cause_source, t.cause_id) p using (source, id)
left join lateral (select (i.fact::jsonb ->> 'credits')::numeric as stated, i.fact::jsonb ->> 'account' as whose
                   from inbox i where i.source = f.source and i.id = f.id) i on true
where f.kind is null or posted is distinct from 1 or p.account <> whose or credits > stated or (credits < stated and not at_most)
order by source, id limit $1
