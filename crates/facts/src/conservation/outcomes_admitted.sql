-- Every outcome is of an admitted fact. The gate commits after it has published: those settled just now may not be there.
select f.source || '/' || f.id as "subject!",
       'an admitted ' || f.kind as "expected!",
       coalesce('an admitted ' || i.kind, 'nothing admitted') as "got!"
from outcomes f left join inbox i using (source, id)
where i.kind is distinct from f.kind and f.settled_at < now() - interval '60 seconds'
order by f.source, f.id, f.reader limit $1
