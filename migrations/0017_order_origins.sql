-- Which request wrote each order last, and the way from a customer to the orders and from an order to its customer's keys.

alter table orders
    -- By the server's clock. Null, as the other two, for what was written before this migration.
    add column written_at timestamptz,
    -- The token's internal id; 0 for a command of the program itself.
    add column token_id bigint,
    add column request_id text;
-- An update that keeps the customer moves no entry of it.
create index orders_of_customers on orders (account_id, profile, id);
create index identities_of_profiles on identities (account_id, profile);
