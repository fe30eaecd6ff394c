-- What servers keep in memory of an account counts only together with the number that stands here when they
-- use it: every change counts it up in its own transaction, whoever makes it.

alter table accounts
    -- Counts changes to what an import's answer depends on: policies, references, definitions; and products,
    -- SKUs and identities that went.
    add column setup_version bigint not null default 1,
    -- Counts changes to tokens that were good before.
    add column tokens_version bigint not null default 1;

create function count_policies() returns trigger language plpgsql as $$
begin
    new.setup_version := old.setup_version + 1;
    return new;
end $$;
create trigger setup_version before update of unknown_profile, unknown_product, unknown_sku on accounts
    for each row execute function count_policies();

create function count_setup() returns trigger language plpgsql as $$
begin
    update accounts set setup_version = setup_version + 1 where id = coalesce(new.account_id, old.account_id);
    return null;
end $$;
create trigger setup_version after insert or update or delete on channels
    for each row execute function count_setup();
create trigger setup_version after insert or update or delete on touchpoints
    for each row execute function count_setup();
create trigger setup_version after insert or update or delete on regions
    for each row execute function count_setup();
create trigger setup_version after insert or update or delete on currencies
    for each row execute function count_setup();
create trigger setup_version after insert or update or delete on order_statuses
    for each row execute function count_setup();
create trigger setup_version after insert or update or delete on line_statuses
    for each row execute function count_setup();
create trigger setup_version after insert or update or delete on custom_fields
    for each row execute function count_setup();

-- Once for a statement: there may be a million of them.
create function count_gone() returns trigger language plpgsql as $$
begin
    update accounts set setup_version = setup_version + 1 where id in (select account_id from gone);
    return null;
end $$;
create trigger setup_version after delete on products referencing old table as gone
    for each statement execute function count_gone();
create trigger setup_version after delete on skus referencing old table as gone
    for each statement execute function count_gone();

create trigger setup_version_deleted after delete on identities referencing old table as gone
    for each statement execute function count_gone();
create trigger setup_version_updated after update on identities referencing old table as gone
    for each statement execute function count_gone();

create function count_tokens() returns trigger language plpgsql as $$
begin
    update accounts set tokens_version = tokens_version + 1 where id = old.account_id;
    return null;
end $$;
-- Not when it was last used: that changes every minute.
create trigger tokens_version after update of account_id, hash, roles, expires_at, revoked_at or delete on tokens
    for each row execute function count_tokens();
