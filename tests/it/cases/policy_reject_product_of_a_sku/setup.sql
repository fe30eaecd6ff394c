update accounts set unknown_product = 'reject';
insert into products (account_id, external_id, stub, name) select id, 'p', false, 'P' from accounts;
