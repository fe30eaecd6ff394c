-- Products and SKUs in full.

alter table products
    -- Null for a stub.
    add column name text,
    -- The optional fields, custom values and regional data, as they are listed. One document, since nothing looks into it
    -- by column: an import compares and replaces the whole.
    add column content jsonb not null default '{}',
    -- By what its text, SKUs included, is known when it is sent again: the same text is unchanged. Whoever changes the
    -- product or one of its SKUs by another way clears it.
    add column sent_digest bytea,
    -- Counts the changes of the product and of its SKUs.
    add column revision bigint not null default 1;
alter table skus
    add column name text,
    add column content jsonb not null default '{}',
    add column sent_digest bytea,
    add column revision bigint not null default 1;
-- The SKUs of a product.
create index skus_product on skus (account_id, product);

create table categories (
    account_id bigint not null references accounts,
    external_id text collate "C" not null,
    name text not null,
    parent text collate "C",
    primary key (account_id, external_id)
);
