-- Where every fact that came through the gate is.
with without_outcome as (
    select exists (select from facts_given_up g
                   where g.worker = 'ledger' and g.source = i.source and g.id = i.id) as given_up
    from inbox i
    where kind = any($1)
      and not exists (select from ledger_facts f where f.source = i.source and f.id = i.id)
)
select (select count(*) from inbox) as "admitted!",
       (select coalesce(sum(repeats), 0)::bigint from inbox) as "repeats!",
       (select count(*) from inbox where kind <> all($1)) as "unread!",
       (select count(*) from without_outcome w where w.given_up) as "dead_lettered!",
       (select count(*) from without_outcome w where not w.given_up) as "in_flight!",
       (select count(*) from kept_messages) as "kept!",
       count(*) filter (where outcome = 'applied') as "applied!",
       count(*) filter (where outcome = 'no_op') as "no_op!",
       count(*) filter (where outcome = 'waiting') as "waiting!",
       count(*) filter (where outcome = 'ignored') as "ignored!",
       count(*) filter (where outcome = 'contradicts') as "contradicts!",
       count(*) filter (where outcome = 'refused') as "refused!"
from ledger_facts
