-- Copies of the seed's orders and lines, so many that the tables are large. Only keys differ from copy to copy.
-- {columns} are the columns of the table; in {values} the keys are moved on by {copies}, from {from} to {to}.

-- large.orders
insert into orders ({columns}) overriding system value
select {values} from generate_series({from}, {to}) as copy, seed_orders order by copy, seed_orders.id;

-- large.lines
insert into order_lines ({columns})
select {values} from generate_series({from}, {to}) as copy, seed_order_lines order by copy, order_id;

-- How a column of a copy is made.
-- large.values
select string_agg(case attname
    when 'id' then 'id + copy * {span}'
    when 'order_id' then 'order_id + copy * {span}'
    when 'external_id' then case '{table}' when 'orders'
        then '''A'' || lpad((substr(external_id, 2)::bigint + copy * {customers})::text, 9, ''0'')'
        else 'external_id' end
    else quote_ident(attname) end, ', ' order by attnum)
from pg_attribute
where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped and attgenerated = '';

-- large.ids
select setval(pg_get_serial_sequence('orders', 'id'), (select max(id) from orders));
