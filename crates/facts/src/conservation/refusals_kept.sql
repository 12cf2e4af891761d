-- A fact that a reader refused is a dead letter of it, whatever became of that. The letter goes out after the outcome is committed: those
-- refused just now may have none yet. Later on, retention may have deleted a letter that was closed.
select source || '/' || id as "subject!",
       'a dead letter of it' as "expected!",
       format('%s, refused %s, and no letter', kind,
              to_char(settled_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) as "got!"
from outcomes f
where outcome = 'refused' and settled_at between now() - interval '1 day' and now() - interval '60 seconds'
  and not exists (select from dead_letters d where d.source = f.source and d.id = f.id and d.worker = f.reader)
order by source, id, reader limit $1
