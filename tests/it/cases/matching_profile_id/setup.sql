insert into profiles (account_id, id, profile_database_id, profile_id)
  select account_id, 1000, id, '5f0000000000000000000abc' from profile_databases where name = 'main';
insert into identities (account_id, profile_database_id, kind, name, value, profile)
  select account_id, id, 'profile_id', '', '5f0000000000000000000abc', 1000 from profile_databases where name = 'main';
