-- Cases: those with a deadline first, the nearest first of all; then the newest first.
-- $1 state, $2 account, $3 any id of a payment, $4 processor, $5 due before, $6 only open ones, $7 after this case, $8 limit
select d.dispute, d.payment_ids, d.state as "state!", d.account, d.payment, d.amount, d.currency, d.evidence_due_by, d.opened_at,
       d.heard_at,
       array(select distinct r.kind from restrictions r
             where r.cause_kind = 'case' and r.cause = d.dispute and r.ended_at is null) as "restrictions!",
       d.is_claimed, d.is_early_warning,
       case when d.is_early_warning then (
           select o.dispute from disputes o where o.payment = d.payment and not o.is_early_warning
           order by o.opened_at, o.dispute limit 1) end as joined,
       d.reopened, d.illegal_steps, p.record as "payment_record?: Json<PaymentRecord>"
from disputes d left join payments p on p.payment = d.payment
where d.state is not null
  and ($1::text is null or d.state = $1)
  and ($2::text is null or d.account = $2)
  and ($3::text is null or d.payment = $3 or $3 = any (d.payment_ids)
       or d.payment = (select i.payment from payment_ids i where i.id = $3))
  and ($4::text is null or starts_with(d.dispute, $4 || ':'))
  and ($5::timestamptz is null or d.evidence_due_by < $5)
  and (not $6 or d.state in ('warning', 'open', 'under_review', 'reopened'))
  and ($7::text is null or exists (
       select from disputes a where a.dispute = $7
         and (coalesce(d.evidence_due_by, 'infinity') > coalesce(a.evidence_due_by, 'infinity')
              or coalesce(d.evidence_due_by, 'infinity') = coalesce(a.evidence_due_by, 'infinity')
                 and (d.opened_at < a.opened_at or d.opened_at = a.opened_at and d.dispute > a.dispute))))
order by coalesce(d.evidence_due_by, 'infinity'), d.opened_at desc, d.dispute
limit $8
