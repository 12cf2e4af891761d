-- How each payment's record was understood when it was last settled. What was settled before there was a second reading
-- stays as it was read then, and is verified so, until a fact about it comes or an operator has it restated.

alter table payments add column reading smallint not null default 1;
