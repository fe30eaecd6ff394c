-- The floor `copy`: the very rows that the server has just written, brought into the same tables of another database
-- as fast as PostgreSQL takes them from a client: in its own binary format, orders and then lines for each 2,000
-- orders, all in one transaction. {columns} are all columns of the table, whatever the schema says.

-- Which orders the server has written.
-- copy.ids
select id from orders where account_id = {account} and id > {after} order by id;

-- Their bytes, in the order in which they were written.
-- copy.read_orders
copy (select {columns} from orders where account_id = {account} and id between {first} and {last} order by id)
to stdout (format binary);

-- copy.read_lines
copy (select {columns} from order_lines where account_id = {account} and order_id between {first} and {last} order by ctid)
to stdout (format binary);

-- What is timed, between `begin` and `commit`.
-- copy.write_orders
copy orders ({columns}) from stdin (format binary);

-- copy.write_lines
copy order_lines ({columns}) from stdin (format binary);
