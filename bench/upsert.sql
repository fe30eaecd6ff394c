-- The floor `upsert`: PostgreSQL replaces orders and lines that it already has, without looking whether anything is
-- different. The rows lie in unlogged tables beforehand, so that they cost no parsing and no way through a client.
-- {columns} are all columns of the table, {changes} sets all but its keys.

-- upsert.stage_orders
create unlogged table if not exists staged_orders (like orders);

-- upsert.stage_lines
create unlogged table if not exists staged_order_lines (like order_lines);

-- upsert.clear
truncate staged_orders, staged_order_lines;

-- upsert.fill_orders
copy staged_orders ({columns}) from stdin (format binary);

-- upsert.fill_lines
copy staged_order_lines ({columns}) from stdin (format binary);

-- What is timed, between `begin` and `commit`.
-- upsert.orders
insert into orders ({columns}) overriding system value
select {columns} from staged_orders
on conflict (account_id, external_id) do update set {changes};

-- upsert.lines
insert into order_lines ({columns})
select {columns} from staged_order_lines
on conflict (account_id, order_id, external_id) do update set {changes};
