-- What every import leaves of itself: who asked, what came of it, and which orders made no events.

create table imports (
    account_id bigint not null,
    id bigint generated always as identity,
    created_at timestamptz not null,
    -- The token's internal id.
    token_id bigint not null,
    skip_triggers boolean not null,
    -- How many of its orders were ….
    created integer not null,
    updated integer not null,
    unchanged integer not null,
    failed integer not null,
    -- The internal ids of its orders that changed and whose events were skipped by request, and of those that did not
    -- change: each a 64-bit Roaring bitmap in the portable format. Null without such orders.
    skipped_orders bytea,
    unchanged_orders bytea,
    -- The lowest and the highest id in both: most imports without a certain order are passed over by them.
    first_order bigint,
    last_order bigint,
    primary key (account_id, id)
);
-- Packed already.
alter table imports alter column skipped_orders set storage external, alter column unchanged_orders set storage external;
-- Pruned by age.
create index imports_age on imports (created_at);
