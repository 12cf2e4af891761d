-- A letter whose message could not be read: what of it could not, as it came. Nothing where all of it could.
alter table dead_letters add column unreadable json;
comment on column dead_letters.unreadable is 'exchange, routing_key and properties (AMQP 0-9-1: flags and values) in hexadecimal digits';
comment on column dead_letters.key is 'SHA-256 of worker, queue, message id, replay and body; and of what could not be read';
