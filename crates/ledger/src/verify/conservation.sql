-- Where every fact that came through the gate is.
select (select count(*) from inbox) as "admitted!",
       (select coalesce(sum(repeats), 0)::bigint from inbox) as "repeats!",
       (select count(*) from inbox where kind <> all($1)) as "unread!",
       (select count(*) from inbox i where kind = any($1)
          and not exists (select from ledger_facts f where f.source = i.source and f.id = i.id)) as "in_flight!",
       (select count(*) from kept_messages) as "kept!",
       count(*) filter (where outcome = 'applied') as "applied!",
       count(*) filter (where outcome = 'no_op') as "no_op!",
       count(*) filter (where outcome = 'waiting') as "waiting!",
       count(*) filter (where outcome = 'ignored') as "ignored!",
       count(*) filter (where outcome = 'contradicts') as "contradicts!",
       count(*) filter (where outcome = 'refused') as "refused!"
from ledger_facts
