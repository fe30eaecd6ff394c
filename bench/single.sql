-- The floor of a request with one order: its statements, one after the other, each planned before, in one transaction,
-- by PostgreSQL's own load program. The order is new, its customer is known. `n` counts the transactions of a client.
\set n :n + 1
\set key 100000000 + :client_id * 10000000 + :n
\set customer random(0, :customers - 1)
\set product random(0, :products - 4)
\set second :product + 1
\set third :product + 2
\set cents random(500, 50000)
begin;
select id, account_id, roles from tokens
where hash = sha256('benchmark-token-0123456789') and revoked_at is null and (expires_at is null or expires_at > now());
select profile from identities where account_id = 1 and profile_database_id = 1 and kind = 'email_profile'
    and name = '' and value = 'customer' || lpad(:customer, 7, '0') || '@example.com' \gset
insert into orders (account_id, external_id, revision, profile, endpoint, status, total_price, currency, delivery_cost,
    region, tags, custom_fields, create_time, update_time)
values (1, 'S' || :key, 1, :profile, 'website', 'paid', :cents / 100.0, 'USD', 12.34, null, '{gift,promo_spring}', '{}',
    '2025-03-04T10:20:30Z', '2025-03-04T12:13:14Z')
on conflict (account_id, external_id) do update set revision = orders.revision + 1, profile = excluded.profile,
    endpoint = excluded.endpoint, status = excluded.status, total_price = excluded.total_price,
    currency = excluded.currency, delivery_cost = excluded.delivery_cost, region = excluded.region,
    tags = excluded.tags, custom_fields = excluded.custom_fields, create_time = excluded.create_time,
    update_time = excluded.update_time
returning id \gset
insert into order_lines (account_id, order_id, position, external_id, product, sku, status, base_price_per_item,
    min_price_per_item, final_price_per_item, count, custom_fields)
values (1, :id, 0, 'line_1', 'product-' || lpad(:product, 5, '0'), 'sku-' || lpad(:product, 5, '0'), 'new', 123.45, 99.99,
    :cents / 100.0, 2, '{}')
on conflict (account_id, order_id, external_id) do update set position = excluded.position, product = excluded.product,
    sku = excluded.sku, status = excluded.status, base_price_per_item = excluded.base_price_per_item,
    min_price_per_item = excluded.min_price_per_item, final_price_per_item = excluded.final_price_per_item,
    count = excluded.count, custom_fields = excluded.custom_fields;
insert into order_lines (account_id, order_id, position, external_id, product, sku, status, base_price_per_item,
    min_price_per_item, final_price_per_item, count, custom_fields)
values (1, :id, 1, 'line_2', 'product-' || lpad(:second, 5, '0'), 'sku-' || lpad(:second, 5, '0'), 'new', 123.45, 99.99,
    :cents / 100.0, 2, '{}')
on conflict (account_id, order_id, external_id) do update set position = excluded.position, product = excluded.product,
    sku = excluded.sku, status = excluded.status, base_price_per_item = excluded.base_price_per_item,
    min_price_per_item = excluded.min_price_per_item, final_price_per_item = excluded.final_price_per_item,
    count = excluded.count, custom_fields = excluded.custom_fields;
insert into order_lines (account_id, order_id, position, external_id, product, sku, status, base_price_per_item,
    min_price_per_item, final_price_per_item, count, custom_fields)
values (1, :id, 2, 'line_3', 'product-' || lpad(:third, 5, '0'), 'sku-' || lpad(:third, 5, '0'), 'new', 123.45, 99.99,
    :cents / 100.0, 2, '{}')
on conflict (account_id, order_id, external_id) do update set position = excluded.position, product = excluded.product,
    sku = excluded.sku, status = excluded.status, base_price_per_item = excluded.base_price_per_item,
    min_price_per_item = excluded.min_price_per_item, final_price_per_item = excluded.final_price_per_item,
    count = excluded.count, custom_fields = excluded.custom_fields;
end;
