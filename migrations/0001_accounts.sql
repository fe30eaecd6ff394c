-- Accounts, who may call, and what an operator sets up for each account.
-- Every key starts with account_id, so that the schema can be spread over machines by account;
-- accounts and tokens are small, never spread, and exempt.
-- Texts that are compared or sorted are collate "C": Rust and PostgreSQL then sort alike.

-- One row: what this database is.
create table installation (
    only_row boolean primary key default true check (only_row),
    -- Made by `serve --demo`: the only kind of database that a demo server accepts.
    demo boolean not null default false
);
insert into installation default values;

create table accounts (
    id bigint generated always as identity primary key,
    name text collate "C" not null unique,
    -- Reference policies: what an import does with a neighbour that it does not know.
    unknown_profile text collate "C" not null default 'create' check (unknown_profile in ('create', 'reject')),
    unknown_product text collate "C" not null default 'create' check (unknown_product in ('create', 'reject')),
    unknown_sku text collate "C" not null default 'create' check (unknown_sku in ('create', 'reject')),
    created_at timestamptz not null default now()
);

create table tokens (
    id bigint generated always as identity primary key,
    account_id bigint not null references accounts,
    -- SHA-256 of the token. The token itself is stored nowhere.
    hash bytea not null unique check (length(hash) = 32),
    name text collate "C" not null,
    roles text[] not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    -- Written by a background task, a minute late at most.
    last_used_at timestamptz
);
create index tokens_account on tokens (account_id);

-- Profiles of different databases never meet.
create table profile_databases (
    account_id bigint not null references accounts,
    id bigint generated always as identity,
    name text collate "C" not null,
    primary key (account_id, id),
    unique (account_id, name)
);

create table channels (
    account_id bigint not null references accounts,
    external_id text collate "C" not null,
    profile_database_id bigint not null,
    primary key (account_id, external_id),
    foreign key (account_id, profile_database_id) references profile_databases
);

create table touchpoints (
    account_id bigint not null references accounts,
    external_id text collate "C" not null,
    channel text collate "C" not null,
    primary key (account_id, external_id),
    foreign key (account_id, channel) references channels
);

create table regions (
    account_id bigint not null references accounts,
    external_id text collate "C" not null,
    name text not null,
    primary key (account_id, external_id)
);

create table currencies (
    account_id bigint not null references accounts,
    code text collate "C" not null check (code ~ '^[A-Z]{3}$'),
    primary key (account_id, code)
);

-- Those beside the built-in ones.
create table order_statuses (
    account_id bigint not null references accounts,
    external_id text collate "C" not null,
    primary key (account_id, external_id)
);
