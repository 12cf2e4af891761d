-- What stands against each account, and why.
select account || ': ' || kind || ' by ' || replace(cause_kind, '_', ' ') || ' ' || cause || ', ' || stage as subject,
       case when m.account is null then 'does not stand' else 'stands' end as recorded,
       case when s.account is null then 'does not stand' else 'stands' end as rebuilt
from (select * from main.restrictions where ended_at is null) m
     full join (select * from restrictions where ended_at is null) s using (account, kind, cause_kind, cause, stage)
where m.account is null or s.account is null
