insert into dead_letters (letter, key, state, worker, queue, code, reason, fingerprint, attempts, first_failed_at,
    dead_at, recorded_at, copies, exchange, routing_key, message_id, content_type, user_id, headers, body,
    traceparent, fact_type, source, id, account, payment, amount, currency, credits, previous, replay, unreadable)
select letter, key, 'open', worker, queue, code, reason, fingerprint, attempts, first_failed_at, dead_at, $28, copies,
    exchange, routing_key, message_id, content_type, user_id, headers, body, traceparent, fact_type, source, id,
    account, payment, amount, currency, credits, previous, replay, unreadable
from unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::json[],
            $9::timestamptz[], $10::timestamptz[], $11::int[], $12::text[], $13::text[], $14::text[], $15::text[],
            $16::text[], $17::json[], $18::bytea[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[],
            $24::text[], $25::numeric[], $26::text[], $27::numeric[], $29::uuid[], $30::uuid[], $31::json[])
  as l (letter, key, worker, queue, code, reason, fingerprint, attempts, first_failed_at, dead_at, copies, exchange,
        routing_key, message_id, content_type, user_id, headers, body, traceparent, fact_type, source, id, account,
        payment, amount, currency, credits, previous, replay, unreadable)
on conflict (key) do update set
    copies = dead_letters.copies + excluded.copies, told_at = clock_timestamp(),
    dead_at = greatest(dead_letters.dead_at, excluded.dead_at)
