-- What became of each fact.
select source || '/' || id as subject, m.outcome as recorded, s.outcome as rebuilt
from main.ledger_facts m join ledger_facts s using (source, id)
where m.outcome <> s.outcome
