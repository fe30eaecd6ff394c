-- Who is told of events, and what waits to be told.

create table subscriptions (
    account_id bigint not null references accounts,
    id bigint generated always as identity,
    url text not null,
    -- Types of events, or '*'.
    events text[] not null check (cardinality(events) > 0),
    -- Only orders of these touchpoints; all if there are none.
    touchpoints text[] not null default '{}',
    description text not null default '',
    -- A disabled one gets no new deliveries; those that wait stay until it is enabled.
    enabled boolean not null default true,
    disabled_reason text,
    -- Since when nothing was delivered though it was tried.
    failing_since timestamptz,
    created_at timestamptz not null default now(),
    primary key (account_id, id)
);

-- As they are, since every delivery is signed by them; shown once, when they are made.
create table subscription_secrets (
    account_id bigint not null,
    subscription_id bigint not null,
    secret text collate "C" not null,
    -- After a rotation the old one stays good for a while.
    expires_at timestamptz,
    primary key (account_id, subscription_id, secret),
    foreign key (account_id, subscription_id) references subscriptions on delete cascade
);

-- When the events of a pack became deliveries. Until now there was nobody to deliver them to.
alter table outbox add column spread_at timestamptz;
update outbox set spread_at = now();
-- The packs that wait to be spread, in the order in which the events of one order happened.
create index outbox_waiting on outbox (account_id, id) where spread_at is null;

-- What waits: an event for a subscription.
create table deliveries (
    account_id bigint not null,
    id bigint generated always as identity,
    subscription_id bigint not null,
    -- Together the event's id: its pack and its place in it, from 0.
    pack_id bigint not null,
    place integer not null,
    order_id bigint not null,
    -- The event, as it stood in its pack.
    event text not null,
    created_at timestamptz not null,
    -- When it is due, by the database's clock: for the first time, again after a failure, or again if whoever is at it
    -- now has died. Null while an earlier event of the same order waits.
    next_at timestamptz,
    attempts integer not null default 0,
    last_status integer,
    last_error text,
    primary key (account_id, id),
    foreign key (account_id, subscription_id) references subscriptions on delete cascade
);
-- What is due; only the first event of each order stands in it.
create index deliveries_due on deliveries (account_id, subscription_id, next_at) where next_at is not null;
-- Which event of an order is next.
create index deliveries_order on deliveries (account_id, subscription_id, order_id, id);

-- What was delivered, and what was given up ('dead'): out of the way of what waits.
create table deliveries_done (
    account_id bigint not null,
    id bigint not null,
    subscription_id bigint not null,
    pack_id bigint not null,
    place integer not null,
    order_id bigint not null,
    event text not null,
    created_at timestamptz not null,
    attempts integer not null,
    outcome text collate "C" not null check (outcome in ('delivered', 'dead')),
    last_status integer,
    last_error text,
    done_at timestamptz not null,
    primary key (account_id, id)
);
-- Pruned by age.
create index deliveries_done_age on deliveries_done (done_at);
-- What became of an order's events.
create index deliveries_done_order on deliveries_done (account_id, order_id);
