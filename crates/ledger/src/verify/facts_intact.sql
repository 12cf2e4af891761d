-- A stored fact is what was admitted: the hash was taken then.
select source || '/' || id as "subject!",
       'a fact whose hash is ' || encode(hash, 'hex') as "expected!",
       encode(sha256(convert_to(fact, 'UTF8')), 'hex') as "got!"
from inbox where hash <> sha256(convert_to(fact, 'UTF8'))
order by source, id limit $1
