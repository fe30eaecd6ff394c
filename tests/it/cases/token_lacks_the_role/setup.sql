insert into tokens (account_id, hash, name, roles)
select id, sha256('reader-token-0123456789'), 'reader', array['orders:read', 'catalog:read'] from accounts;
insert into tokens (account_id, hash, name, roles)
select id, sha256('admin-token-0123456789'), 'admin', array['admin'] from accounts;
