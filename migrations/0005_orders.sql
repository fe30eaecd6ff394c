-- Orders and their lines.
-- No foreign key to rows that many requests share (touchpoint, region, product, …): each insert would
-- lock them. They are named by their external ids, which never change, so that a listing needs no join
-- and an order stays whole when a product is deleted. None from lines to orders either: one writer, which
-- holds the order's lock, and a test for orphans stand in for it.

create table orders (
    account_id bigint not null,
    id bigint generated always as identity,
    external_id text collate "C" not null,
    -- Counts the changes, from 1. Events of one order are ordered by it.
    revision bigint not null,
    profile bigint not null,
    endpoint text collate "C" not null,
    status text collate "C" not null,
    total_price numeric(24, 6) not null,
    currency text collate "C" not null,
    delivery_cost numeric(24, 6),
    region text collate "C",
    tags text[] not null,
    custom_fields jsonb not null,
    create_time timestamptz not null,
    update_time timestamptz not null,
    -- Lists go by it: oldest first.
    primary key (account_id, id),
    -- The business key; the import locks in its order.
    unique (account_id, external_id)
);

create table order_lines (
    account_id bigint not null,
    order_id bigint not null,
    -- Place in the order, from 0, without gaps.
    position integer not null,
    external_id text collate "C" not null,
    product text collate "C",
    sku text collate "C",
    status text collate "C" not null,
    base_price_per_item numeric(24, 6),
    min_price_per_item numeric(24, 6),
    final_price_per_item numeric(24, 6),
    count integer not null check (count >= 0),
    custom_fields jsonb not null,
    check (product is not null or sku is not null),
    primary key (account_id, order_id, external_id)
);
