//! Orders as clients list them and look them up, with what is known of their customers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::lists::{Page, Reading};
use super::{Error, Result};
use crate::domain::custom_fields::Value;
use crate::domain::matching::{IdentityKind, StoredCustomer, StoredKey};
use crate::domain::orders::{LineState, ListedOrder, OrderFilter, OrderState, StoredOrder, Values};

/// The key of an order on a page.
struct OrderKey {
    id: i64,
    external_id: String,
    profile_id: Option<String>,
}

/// The orders of an account that a filter lets through, behind one of them, at most `limit` and about `max_bytes` of them;
/// with what is known of their customers, if that is asked for. All statements of the transaction have to see one moment.
///
/// # Errors
/// The database failed, or holds what cannot be.
pub async fn page(
    conn: &mut PgConnection,
    account_id: i64,
    after: i64,
    (limit, max_bytes): (i64, usize),
    filter: &OrderFilter,
    with_customer: bool,
) -> Result<Page<ListedOrder>> {
    let mut reading = Reading::new(limit, max_bytes);
    let profiles = customers(conn, account_id, filter).await?;
    let bounds = if filter.newest_first { (i64::MIN, after) } else { (after, i64::MAX) };
    let keys = keys(conn, account_id, bounds, limit, filter, profiles.as_deref()).await?;
    let mut keys = keys.as_slice();
    let mut known = HashMap::new();
    while let (some, others) = keys.split_at(reading.next().min(keys.len()))
        && !some.is_empty()
    {
        keys = others;
        let external_ids: Vec<&str> = some.iter().map(|key| &*key.external_id).collect();
        let mut orders = super::orders::read(conn, account_id, &external_ids).await?;
        if with_customer {
            let mut profiles: Vec<i64> = orders.values().map(|order| order.state.profile).collect();
            profiles.sort_unstable();
            profiles.dedup();
            profiles.retain(|profile| !known.contains_key(profile));
            known.extend(stored_customers(conn, account_id, &profiles).await?);
        }
        for key in some {
            let corrupt = |column| Error::Corrupt { table: "orders", column, what: format!("of order {}", key.id) };
            let order = orders.remove(&key.external_id).ok_or_else(|| corrupt("external_id"))?;
            let profile_id = key.profile_id.clone().ok_or_else(|| corrupt("profile"))?;
            let customer = known.get(&order.state.profile).cloned();
            let bytes = order_bytes(&order) + customer.as_deref().map_or(0, customer_bytes);
            let listed = ListedOrder { external_id: key.external_id.clone(), profile_id, order, customer };
            if !reading.add(key.id, listed, bytes) {
                return Ok(reading.page());
            }
        }
    }
    Ok(reading.page())
}

/// The profiles of the customers that a filter names by their keys; `None` if it names none.
async fn customers(conn: &mut PgConnection, account_id: i64, filter: &OrderFilter) -> Result<Option<Vec<i64>>> {
    const EMAIL: [IdentityKind; 2] = [IdentityKind::EmailProfile, IdentityKind::EmailSub];
    const PHONE: [IdentityKind; 2] = [IdentityKind::PhoneProfile, IdentityKind::PhoneSub];
    let mut customers: Option<Vec<i64>> = None;
    for (kinds, value) in [(EMAIL, &filter.email), (PHONE, &filter.phone)] {
        let Some(value) = value else { continue };
        let kinds = kinds.map(IdentityKind::as_str);
        let found = sqlx::query_scalar!(
            "-- identities.profiles
            select distinct i.profile from profile_databases d
            join lateral (select i.profile from identities i where i.account_id = $1 and i.profile_database_id = d.id
                and i.kind = any($2) and i.name = '' and i.value = $3 offset 0) i on true
            where d.account_id = $1",
            account_id,
            &kinds as &[&str],
            value,
        )
        .fetch_all(&mut *conn)
        .await?;
        customers = Some(match customers {
            None => found,
            Some(both) => both.into_iter().filter(|profile| found.contains(profile)).collect(),
        });
    }
    Ok(customers)
}

/// The ids between which orders are looked for, both excluded.
type Bounds = (i64, i64);

/// The keys of the next orders. Ids and customers are looked up in an index; the other filters look at each order on the way.
async fn keys(
    conn: &mut PgConnection,
    account_id: i64,
    bounds: Bounds,
    limit: i64,
    filter: &OrderFilter,
    profiles: Option<&[i64]>,
) -> Result<Vec<OrderKey>> {
    match (profiles, &filter.external_ids) {
        (Some(profiles), _) => keys_of_customers(conn, account_id, bounds, limit, filter, profiles).await,
        (None, Some(external_ids)) => keys_of_ids(conn, account_id, bounds, limit, filter, external_ids).await,
        (None, None) if filter.newest_first => keys_newest_first(conn, account_id, bounds, limit, filter).await,
        (None, None) => keys_oldest_first(conn, account_id, bounds, limit, filter).await,
    }
}

async fn keys_of_customers(
    conn: &mut PgConnection,
    account_id: i64,
    bounds: Bounds,
    limit: i64,
    filter: &OrderFilter,
    profiles: &[i64],
) -> Result<Vec<OrderKey>> {
    let OrderFilter { external_ids, statuses, endpoint, updated_from, updated_to, newest_first, .. } = filter;
    let keys = sqlx::query_as!(
        OrderKey,
        "-- orders.page_of_customers
        select o.id, o.external_id, p.profile_id as \"profile_id?\" from (
            select o.id, o.external_id, o.profile from unnest($2::bigint[]) as c (profile)
            join lateral (select id, external_id, profile from orders o where o.account_id = $1 and o.profile = c.profile
                and id > $3 and id < $4
                and ($7::text[] is null or external_id = any($7)) and ($8::text[] is null or status = any($8))
                and ($9::text is null or endpoint = $9) and ($10::timestamptz is null or update_time >= $10)
                and ($11::timestamptz is null or update_time < $11) offset 0) o on true
            order by case when $6 then -o.id else o.id end limit $5
        ) o
        left join lateral (select profile_id from profiles p where p.account_id = $1 and p.id = o.profile offset 0) p on true
        order by case when $6 then -o.id else o.id end",
        account_id,
        profiles,
        bounds.0,
        bounds.1,
        limit,
        newest_first,
        external_ids.as_deref(),
        statuses.as_deref(),
        endpoint.as_deref(),
        *updated_from,
        *updated_to,
    )
    .fetch_all(conn)
    .await?;
    Ok(keys)
}

async fn keys_of_ids(
    conn: &mut PgConnection,
    account_id: i64,
    bounds: Bounds,
    limit: i64,
    filter: &OrderFilter,
    external_ids: &[String],
) -> Result<Vec<OrderKey>> {
    let OrderFilter { statuses, endpoint, updated_from, updated_to, newest_first, .. } = filter;
    let keys = sqlx::query_as!(
        OrderKey,
        "-- orders.page_of_ids
        select o.id, o.external_id, p.profile_id as \"profile_id?\" from (
            select o.id, o.external_id, o.profile from (select distinct unnest($2::text[])) as k (external_id)
            join lateral (select id, external_id, profile from orders o
                where o.account_id = $1 and o.external_id = k.external_id and id > $3 and id < $4
                and ($7::text[] is null or status = any($7)) and ($8::text is null or endpoint = $8)
                and ($9::timestamptz is null or update_time >= $9)
                and ($10::timestamptz is null or update_time < $10) offset 0) o on true
            order by case when $6 then -o.id else o.id end limit $5
        ) o
        left join lateral (select profile_id from profiles p where p.account_id = $1 and p.id = o.profile offset 0) p on true
        order by case when $6 then -o.id else o.id end",
        account_id,
        external_ids,
        bounds.0,
        bounds.1,
        limit,
        newest_first,
        statuses.as_deref(),
        endpoint.as_deref(),
        *updated_from,
        *updated_to,
    )
    .fetch_all(conn)
    .await?;
    Ok(keys)
}

async fn keys_newest_first(
    conn: &mut PgConnection,
    account_id: i64,
    bounds: Bounds,
    limit: i64,
    filter: &OrderFilter,
) -> Result<Vec<OrderKey>> {
    let OrderFilter { statuses, endpoint, updated_from, updated_to, .. } = filter;
    let keys = sqlx::query_as!(
        OrderKey,
        "-- orders.page_newest_first
        select o.id, o.external_id, p.profile_id as \"profile_id?\" from (
            select id, external_id, profile from orders
            where account_id = $1 and id > $2 and id < $3
                and ($5::text[] is null or status = any($5)) and ($6::text is null or endpoint = $6)
                and ($7::timestamptz is null or update_time >= $7) and ($8::timestamptz is null or update_time < $8)
            order by id desc limit $4
        ) o
        left join lateral (select profile_id from profiles p where p.account_id = $1 and p.id = o.profile offset 0) p on true
        order by o.id desc",
        account_id,
        bounds.0,
        bounds.1,
        limit,
        statuses.as_deref(),
        endpoint.as_deref(),
        *updated_from,
        *updated_to,
    )
    .fetch_all(conn)
    .await?;
    Ok(keys)
}

async fn keys_oldest_first(
    conn: &mut PgConnection,
    account_id: i64,
    bounds: Bounds,
    limit: i64,
    filter: &OrderFilter,
) -> Result<Vec<OrderKey>> {
    let OrderFilter { statuses, endpoint, updated_from, updated_to, .. } = filter;
    let keys = sqlx::query_as!(
        OrderKey,
        "-- orders.page
        select o.id, o.external_id, p.profile_id as \"profile_id?\" from (
            select id, external_id, profile from orders
            where account_id = $1 and id > $2 and id < $3
                and ($5::text[] is null or status = any($5)) and ($6::text is null or endpoint = $6)
                and ($7::timestamptz is null or update_time >= $7) and ($8::timestamptz is null or update_time < $8)
            order by id limit $4
        ) o
        left join lateral (select profile_id from profiles p where p.account_id = $1 and p.id = o.profile offset 0) p on true
        order by o.id",
        account_id,
        bounds.0,
        bounds.1,
        limit,
        statuses.as_deref(),
        endpoint.as_deref(),
        *updated_from,
        *updated_to,
    )
    .fetch_all(conn)
    .await?;
    Ok(keys)
}

/// About how many bytes an order has when it is listed.
fn order_bytes(order: &StoredOrder<'_>) -> usize {
    let OrderState { tags, custom_fields, lines, .. } = &order.state;
    let custom =
        |values: &Values<'_>| values.iter().map(|(key, value)| key.len() + 20 + value_bytes(value)).sum::<usize>();
    let text = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
    let line = |line: &LineState<'_>| {
        200 + line.external_id.len() + text(&line.product) + text(&line.sku) + custom(&line.custom_fields)
    };
    300 + tags.iter().map(|tag| tag.len() + 3).sum::<usize>()
        + custom(custom_fields)
        + lines.iter().map(line).sum::<usize>()
}

fn customer_bytes(customer: &StoredCustomer) -> usize {
    // The key that names the customer stands there twice.
    100 + customer.keys.iter().map(|key| 60 + key.name.len() + key.value.len()).sum::<usize>()
}

fn value_bytes(value: &Value) -> usize {
    if let Value::Text(text) = value { text.len() } else { 0 }
}

/// Most keys of a kind that are told of a customer: those who share one address may have many numbers.
const MAX_KEYS: i64 = 20;

/// What is known of the customers of some profiles, by their internal ids.
async fn stored_customers(
    conn: &mut PgConnection,
    account_id: i64,
    profiles: &[i64],
) -> Result<HashMap<i64, Arc<StoredCustomer>>> {
    let rows = sqlx::query!(
        "-- profiles.keys
        select p.id as \"id!\", p.profile_id as \"profile_id!\", i.kind as \"kind?\", i.name as \"name?\", i.value as \"value?\",
            exists (select from identities other where other.account_id = $1
                and other.profile_database_id = p.profile_database_id and other.kind = case i.kind
                    when 'email_profile' then 'email_sub' when 'email_sub' then 'email_profile'
                    when 'phone_profile' then 'phone_sub' when 'phone_sub' then 'phone_profile' end
                and other.name = i.name and other.value = i.value and other.profile <> p.id) as \"is_shared!\"
        from unnest($2::bigint[]) as k (id)
        join lateral (select * from profiles p where p.account_id = $1 and p.id = k.id offset 0) p on true
        left join lateral (
            select kind, name, value from (
                select kind, name, value, row_number() over (partition by kind order by name, value) as place from identities i
                where i.account_id = $1 and i.profile = p.id and i.kind <> 'profile_id'
            ) i where place <= $3
        ) i on true
        order by p.id, i.kind, i.name, i.value",
        account_id,
        profiles,
        MAX_KEYS,
    )
    .fetch_all(conn)
    .await?;
    let mut customers: HashMap<i64, StoredCustomer> = HashMap::new();
    for row in rows {
        let new = StoredCustomer { profile_id: row.profile_id, keys: Vec::new() };
        let customer = customers.entry(row.id).or_insert(new);
        let (Some(kind), Some(name), Some(value)) = (row.kind, row.name, row.value) else { continue };
        let corrupt = || Error::Corrupt { table: "identities", column: "kind", what: kind.clone() };
        let kind = IdentityKind::of(&kind).ok_or_else(corrupt)?;
        customer.keys.push(StoredKey { kind, name, value, is_shared: row.is_shared });
    }
    Ok(customers.into_iter().map(|(profile, customer)| (profile, Arc::new(customer))).collect())
}

/// Which request wrote an order last.
#[derive(Debug)]
pub struct LastWrite {
    /// When.
    pub written_at: OffsetDateTime,
    /// The internal id of its token; 0 for a command of the program itself.
    pub token_id: i64,
    /// As its answer named it.
    pub request_id: String,
}

/// Which request wrote an order last; `None` if it was written by a version that did not note it, or is not there.
///
/// # Errors
/// See [`page`].
pub async fn last_write(conn: &mut PgConnection, account_id: i64, id: i64) -> Result<Option<LastWrite>> {
    let write = sqlx::query_as!(
        LastWrite,
        "-- orders.last_write
        select written_at as \"written_at!\", token_id as \"token_id!\", request_id as \"request_id!\"
        from orders where account_id = $1 and id = $2 and written_at is not null",
        account_id,
        id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(write)
}

/// A stored order as far as look-ups show it.
#[derive(Debug)]
pub struct Found {
    /// The internal id.
    pub id: i64,
    /// The business key.
    pub external_id: String,
    /// A touchpoint's external id.
    pub endpoint: String,
    /// An order status.
    pub status: String,
}

/// The orders that one of two ids names.
///
/// # Errors
/// See [`page`].
pub async fn find(
    conn: &mut PgConnection,
    account_id: i64,
    id: Option<i64>,
    external_id: Option<&str>,
) -> Result<Vec<Found>> {
    let found = sqlx::query_as!(
        Found,
        "-- orders.find
        select id as \"id!\", external_id as \"external_id!\", endpoint as \"endpoint!\", status as \"status!\"
        from orders where account_id = $1 and id = $2
        union select id, external_id, endpoint, status from orders where account_id = $1 and external_id = $3",
        account_id,
        id,
        external_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(found)
}
