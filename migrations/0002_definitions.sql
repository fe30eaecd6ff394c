-- What an account's orders may carry beyond the built-in fields: custom fields and line statuses.

create table custom_fields (
    account_id bigint not null references accounts,
    entity_type text collate "C" not null check (entity_type in ('product', 'sku', 'order', 'line_order')),
    external_id text collate "C" not null,
    value_type text collate "C" not null check (value_type in ('unicode', 'int', 'float', 'bool', 'enum', 'date')),
    name text not null,
    required boolean not null,
    -- As custom values are stored: a number, a boolean or a string.
    default_value jsonb,
    -- Label to number, for enums.
    enum_values jsonb not null default '{}',
    primary key (account_id, entity_type, external_id)
);

-- Those beside the built-in ones.
create table line_statuses (
    account_id bigint not null references accounts,
    external_id text collate "C" not null,
    name text not null,
    type text collate "C" not null check (type in ('delivered', 'canceled', 'refunded', 'in_process')),
    primary key (account_id, external_id)
);
