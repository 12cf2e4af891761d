-- An account's row carries the hash that its chain ends in.
select a.account as "subject!",
       coalesce(encode(t.hash, 'hex'), 'zeros') || ', the hash of the last transaction' as "expected!",
       encode(a.head, 'hex') as "got!"
from accounts a
left join lateral (select hash from transactions t where t.account = a.account order by number desc limit 1) t on true
where ($1::text is null or a.account = $1) and a.head <> coalesce(t.hash, decode(repeat('00', 32), 'hex'))
order by a.account limit $2
