insert into order_statuses select id, 'confirmed' from accounts;
