-- How an order that is sent again is known.

alter table orders
    -- 128 bits of SHA-256 over the order as it was last applied and over the version of what its answer depends
    -- on. The same again is unchanged, without a look at anything else. Whoever writes an order by another way
    -- clears it. In no index, so that renewing it moves no index entry.
    add column digest bytea;
