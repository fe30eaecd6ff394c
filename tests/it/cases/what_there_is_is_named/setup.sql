insert into order_statuses select id, 'own ' || lpad(n::text, 2, '0') from accounts, generate_series(1, 12) n;
delete from regions;
