-- What became of every event that some subscription is to be told of: what waits and what is done, in one.
create view delivery_states as
select account_id, id, subscription_id, pack_id, place, order_id, event, created_at, attempts, last_status, last_error,
    'waiting' collate "C" as outcome, next_at as at
from deliveries
union all
select account_id, id, subscription_id, pack_id, place, order_id, event, created_at, attempts, last_status, last_error,
    outcome, done_at
from deliveries_done;
