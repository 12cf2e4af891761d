-- What the ledger made of each fact.
select source || '/' || id as subject, m.outcome as recorded, s.outcome as rebuilt
from main.outcomes m join outcomes s using (source, id, reader)
where reader = 'ledger' and m.outcome <> s.outcome
