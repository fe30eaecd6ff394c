-- A subscription gets what happens after it was made or enabled: the packs from this one on. Packs may wait to be spread
-- for longer than that.
alter table subscriptions add column first_pack bigint not null default 1;
