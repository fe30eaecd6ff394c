-- The columns of a table, as the statements of the floors need them.

-- schema.columns
select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped and attgenerated = '';

-- schema.changes
select string_agg(format('%1$I = excluded.%1$I', attname), ', ' order by attnum) from pg_attribute a
where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped and attgenerated = ''
    and not exists (select from pg_index where indrelid = a.attrelid and indisunique and attnum = any (indkey::int2[]));
