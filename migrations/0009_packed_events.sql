-- Events are packed: one row for each import and set of orders; whoever delivers them spreads them. A row for
-- each event was a sixth of an import's time.

alter table outbox rename to outbox_single;
alter index outbox_pkey rename to outbox_single_pkey;
alter sequence outbox_id_seq rename to outbox_single_id_seq;

create table outbox (
    account_id bigint not null,
    id bigint generated always as identity,
    -- A JSON array of events, each with order_id, order, revision, type, line (if it is about one) and changes
    -- (field to {"from": …, "to": …}), in the order in which they happened. As text, since nothing looks into it
    -- before it is delivered.
    events text not null,
    created_at timestamptz not null,
    primary key (account_id, id)
);
-- Compressing costs an import more than the space is worth for the days that events stay.
alter table outbox alter column events set storage external;

insert into outbox (account_id, events, created_at)
select account_id, json_build_array(json_strip_nulls(json_build_object('order_id', order_id, 'order', order_external_id,
    'revision', order_revision, 'type', type, 'line', line_external_id))::jsonb || jsonb_build_object('changes', changes))::text,
    created_at
from outbox_single order by id;
drop table outbox_single;

-- Old events are pruned by age, whether delivered or not.
create index outbox_age on outbox (created_at);

-- One row for each event, to look at.
create view outbox_events as
select o.account_id, o.id as pack_id, e.place, (e.event ->> 'order_id')::bigint as order_id,
    e.event ->> 'order' as order_external_id, (e.event ->> 'revision')::bigint as order_revision, e.event ->> 'type' as type,
    e.event ->> 'line' as line_external_id, e.event -> 'changes' as changes, o.created_at
from outbox o, jsonb_array_elements(o.events::jsonb) with ordinality as e (event, place);
