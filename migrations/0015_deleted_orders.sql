-- Orders that were deleted, as long as something is told of them.

create table deleted_orders (
    account_id bigint not null,
    external_id text collate "C" not null,
    order_id bigint not null,
    deleted_at timestamptz not null,
    primary key (account_id, external_id, order_id)
);
create index deleted_orders_age on deleted_orders (deleted_at);

-- New orders count their changes from here: an order that is made anew goes on above the one that was deleted, so that
-- its events come later for whoever sorts them by revision. Raised by deletions; an import need not look for them.
alter table accounts add column first_revision bigint not null default 1;
