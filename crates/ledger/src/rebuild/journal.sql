-- The first transaction of each account that is another now: every later one follows from it.
select distinct on (account)
       account || ' #' || number as subject,
       coalesce(m.kind || ' by ' || m.cause_source || '/' || m.cause_id, 'no transaction') as recorded,
       coalesce(s.kind || ' by ' || s.cause_source || '/' || s.cause_id, 'no transaction')
         || case when (m.kind, m.cause_source, m.cause_id) = (s.kind, s.cause_source, s.cause_id)
                 then ', with other entries' else '' end as rebuilt
from main.transactions m full join transactions s using (account, number)
where m.hash is distinct from s.hash
order by account, number
