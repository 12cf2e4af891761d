-- One case as a line of a list. $1 the case
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
where d.dispute = $1 and d.state is not null
