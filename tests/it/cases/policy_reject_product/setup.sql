update accounts set unknown_product = 'reject';
insert into products (account_id, external_id, stub) select id, 'p', false from accounts;
insert into skus (account_id, external_id, product, stub) select id, 's', null, false from accounts;
