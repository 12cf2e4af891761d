-- How each case stands.
select dispute as subject,
       case when m.dispute is null then 'unknown'
            else format('%s, opened anew %s times, of %s, amount %s %s, due %s', m.state, m.reopened, coalesce(m.account, 'nobody'),
                        coalesce(trim_scale(m.amount)::text, 'unknown'), coalesce(m.currency, '-'),
                        coalesce(m.evidence_due_by::text, 'never')) end as recorded,
       case when s.dispute is null then 'unknown'
            else format('%s, opened anew %s times, of %s, amount %s %s, due %s', s.state, s.reopened, coalesce(s.account, 'nobody'),
                        coalesce(trim_scale(s.amount)::text, 'unknown'), coalesce(s.currency, '-'),
                        coalesce(s.evidence_due_by::text, 'never')) end as rebuilt
from main.disputes m full join disputes s using (dispute)
where (m.state, m.reopened, m.account, m.payment, m.is_claimed, m.amount, m.currency, m.evidence_due_by)
   is distinct from
      (s.state, s.reopened, s.account, s.payment, s.is_claimed, s.amount, s.currency, s.evidence_due_by)
