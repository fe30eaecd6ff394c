//! All that is stored of an account, as one text that is the same for the same state.

use std::fmt::Write as _;

use super::db::TestDb;

/// One statement for each part; profiles show by the place of their first order or identity.
const PARTS: [(&str, &str); 9] = [
    (
        "orders",
        "select o.external_id, o.revision, p.place as profile, o.endpoint, o.status, trim_scale(o.total_price)::text as total_price,
            o.currency, trim_scale(o.delivery_cost)::text as delivery_cost, o.region, o.tags, o.custom_fields,
            o.create_time at time zone 'utc' as create_time, o.update_time at time zone 'utc' as update_time
        from orders o left join places p on p.id = o.profile order by o.external_id",
    ),
    (
        "lines",
        "select o.external_id as \"order\", l.position, l.external_id, l.product, l.sku, l.status,
            trim_scale(l.base_price_per_item)::text as base, trim_scale(l.min_price_per_item)::text as min,
            trim_scale(l.final_price_per_item)::text as final, l.count, l.custom_fields
        from order_lines l left join orders o on o.id = l.order_id and o.account_id = l.account_id order by o.external_id, l.position",
    ),
    (
        "identities",
        "select d.name as database, i.kind, i.name, case when i.kind = 'profile_id' then '(random)' else i.value end as value,
            p.place as profile
        from identities i join profile_databases d on d.id = i.profile_database_id left join places p on p.id = i.profile
        order by 1, 2, 3, 4, 5",
    ),
    ("products", "select external_id, stub from products order by external_id"),
    ("skus", "select external_id, product, stub from skus order by external_id"),
    (
        "custom_fields",
        "select entity_type, external_id, value_type, name, required, default_value, enum_values from custom_fields order by 1, 2",
    ),
    ("line_statuses", "select external_id, name, type from line_statuses order by 1"),
    (
        "events",
        "select order_external_id as \"order\", order_revision as revision, type, line_external_id as line, changes - 'profile' as changes
        from outbox_events order by order_external_id, order_revision, pack_id, place",
    ),
    ("profiles", "select count(*) as count from profiles"),
];

/// Parts that are left out where they are empty.
const CATALOGUE: [(&str, &str); 2] = [
    (
        "catalogue",
        "select 'product' as type, external_id, null as product, name, content from products where name is not null
        union all select 'sku', external_id, product, name, content from skus where name is not null order by 1, 2",
    ),
    ("categories", "select external_id, name, parent from categories order by external_id"),
];

/// All that is stored, as JSON with a line for each row.
pub(crate) async fn stored(db: &TestDb) -> String {
    let mut text = String::from("{");
    for (place, (part, sql)) in PARTS.iter().chain(&CATALOGUE).enumerate() {
        let sql = format!(
            "with places as (select id, row_number() over (order by id) as place from profiles)
            select string_agg(row_to_json(t)::text, E',\\n    ') from ({sql}) t"
        );
        let rows = db.text(&sql).await;
        if rows == "null" && place >= PARTS.len() {
            continue;
        }
        let comma = if place == 0 { "" } else { "," };
        let rows = if rows == "null" { String::new() } else { format!("\n    {rows}\n  ") };
        let _ = write!(text, "{comma}\n  \"{part}\": [{rows}]");
    }
    text.push_str("\n}\n");
    text
}
