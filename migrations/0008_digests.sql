-- How an order that is sent again is known. Whoever writes an order by another way clears both. They stand in no
-- index, so that renewing them moves no index entry.

alter table orders
    -- 128 bits of SHA-256 over the order as it was last applied and over the version of what its answer depends
    -- on. The same again is unchanged, without a look at anything else.
    add column digest bytea,
    -- The same over its text as it was sent: the same text again is not even decoded.
    add column sent_digest bytea;
