-- The floors of products and SKUs: the very rows that the server has just written, copied into the same tables of another
-- database; and written there again over themselves.

-- catalogue.last
select coalesce(max(id), 0) from {table} where account_id = 1;

-- catalogue.read
copy (select {columns} from {table} where account_id = 1 and id > {after} order by id) to stdout (format binary);

-- catalogue.stage
create unlogged table if not exists staged_{table} (like {table});

-- catalogue.clear
truncate staged_{table};

-- catalogue.fill
copy staged_{table} ({columns}) from stdin (format binary);

-- What is timed, between `begin` and `commit`.
-- catalogue.write
copy {table} ({columns}) from stdin (format binary);

-- catalogue.upsert
insert into {table} ({columns}) overriding system value
select {columns} from staged_{table}
on conflict (account_id, external_id) do update set {changes};
