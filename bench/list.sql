-- The internal id behind which the last page begins.
-- list.before_last
select id from orders where account_id = 1 order by id desc offset {count} limit 1;
