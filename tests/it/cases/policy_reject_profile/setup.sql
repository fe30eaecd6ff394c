update accounts set unknown_profile = 'reject';
insert into profiles (account_id, id, profile_database_id, profile_id) overriding system value
  select account_id, 1000, id, '5f0000000000000000000abc' from profile_databases where name = 'main';
insert into identities (account_id, profile_database_id, kind, name, value, profile)
  select account_id, id, k.kind, '', k.value, 1000 from profile_databases,
    (values ('profile_id', '5f0000000000000000000abc'), ('email_sub', 'ann@example.com')) as k (kind, value) where name = 'main';
