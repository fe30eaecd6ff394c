-- Products and SKUs, as far as order lines need them: stubs that a later import fills.

create table products (
    account_id bigint not null,
    id bigint generated always as identity,
    external_id text collate "C" not null,
    -- Made by an order, not yet imported.
    stub boolean not null,
    created_at timestamptz not null default now(),
    primary key (account_id, id),
    unique (account_id, external_id)
);

create table skus (
    account_id bigint not null,
    id bigint generated always as identity,
    external_id text collate "C" not null,
    product text collate "C",
    stub boolean not null,
    created_at timestamptz not null default now(),
    primary key (account_id, id),
    unique (account_id, external_id)
);
