-- Which kinds of identities an account has: a customer need not be looked for by the others. Most accounts know their
-- customers by one kind, while an e-mail address may stand for two. A kind stays here for good.

alter table accounts add column identity_kinds text[] not null default '{}';
update accounts a set identity_kinds = array(select distinct kind from identities where account_id = a.id);

-- Once for a statement, and a write only for the first identity of a kind.
create function note_identity_kinds() returns trigger language plpgsql as $$
begin
    update accounts a set identity_kinds = array(select distinct unnest(a.identity_kinds || m.kinds))
    from (select account_id, array_agg(distinct kind) as kinds from made group by account_id) m
    where a.id = m.account_id and not a.identity_kinds @> m.kinds;
    return null;
end $$;
create trigger identity_kinds_inserted after insert on identities referencing new table as made
    for each statement execute function note_identity_kinds();
create trigger identity_kinds_updated after update on identities referencing new table as made
    for each statement execute function note_identity_kinds();
