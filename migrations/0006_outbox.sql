-- What happened to orders, in the transaction that did it; delivery reads from here.

create table outbox (
    account_id bigint not null,
    id bigint generated always as identity,
    order_id bigint not null,
    order_external_id text collate "C" not null,
    -- The order's revision that the event tells of: events of one order are ordered by it.
    order_revision bigint not null,
    type text collate "C" not null check (type in
        ('order.created', 'order.updated', 'order.status_changed', 'order_line.status_changed', 'order.deleted')),
    -- The line that an order_line event is about.
    line_external_id text collate "C",
    -- Field to {"from": …, "to": …}.
    changes jsonb not null,
    created_at timestamptz not null,
    primary key (account_id, id)
);
-- Old events are pruned by age, whether delivered or not.
create index outbox_age on outbox (created_at);
