-- A stored fact is what was admitted: the hash was taken then. Where its texts were erased, it is what was left: who erased
-- it took the hash anew and wrote it down, once and for good, and who had it erased.
select source || '/' || id as "subject!",
       'a fact whose hash is ' || encode(hash, 'hex') as "expected!",
       encode(sha256(convert_to(fact, 'UTF8')), 'hex') as "got!"
from inbox where hash <> sha256(convert_to(fact, 'UTF8'))
union all
select source || '/' || id,
       case when e.hash is null then 'a fact as it was admitted'
            else 'a fact erased at ' || e.erased_at || ', whose hash is ' || encode(e.hash, 'hex') end,
       case when i.hash is null then 'no such fact'
            when i.erased_at is null then 'one that was not erased'
            else 'a fact erased at ' || i.erased_at || ', whose hash is ' || encode(i.hash, 'hex') end
from (select source, id, hash, erased_at from inbox where erased_at is not null) i
full join erased_facts e using (source, id)
where (i.hash, i.erased_at) is distinct from (e.hash, e.erased_at)
union all
select coalesce('what was erased at ' || f.at, 'an erasure at ' || w.at),
       coalesce(w.facts, 0) || ' facts, by what is written down of who erased them',
       coalesce(f.facts, 0) || ' erased facts'
from (select erased_at as at, count(*) as facts from erased_facts group by erased_at) f
full join (select at, sum(facts) as facts from erasures where facts > 0 group by at) w using (at)
where coalesce(f.facts, 0) <> coalesce(w.facts, 0)
order by 1 limit $1
