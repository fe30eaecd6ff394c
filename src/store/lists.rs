//! Orders, products and SKUs as clients list them, and orders as they look them up.

use std::borrow::Cow;
use std::collections::HashMap;

use sqlx::PgConnection;

use super::items::Row;
use super::{Error, Result};
use crate::domain::catalogue::{ItemType, ListedItem};
use crate::domain::custom_fields::Value;
use crate::domain::orders::{LineState, ListedOrder, OrderState, StoredOrder, Values};

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// What stands on it.
    pub items: Vec<T>,
    /// The internal id of the last of them; `None` for the page behind the last one.
    pub last: Option<i64>,
}

/// Items that are read before it is known how large they are.
const FIRST_ITEMS: usize = 10;

/// A page that is being read: of so many items, and of so many bytes unless one item alone has more.
struct Reading<T> {
    page: Page<T>,
    limit: usize,
    max_bytes: usize,
    bytes: usize,
}

impl<T> Reading<T> {
    fn new(limit: i64, max_bytes: usize) -> Self {
        let limit = usize::try_from(limit).unwrap_or_default();
        Reading { page: Page { items: Vec::new(), last: None }, limit, max_bytes, bytes: 0 }
    }

    /// How many items are to be read next, by the size of those that were read.
    fn next(&self) -> usize {
        let left = self.limit.saturating_sub(self.page.items.len());
        match self.page.items.len() {
            0 => FIRST_ITEMS.min(left),
            // The next ones may be larger: not too many of them at once.
            read => (self.max_bytes.saturating_sub(self.bytes) / (self.bytes / read).max(1)).min(4 * read).min(left),
        }
    }

    /// Adds an item of so many bytes; false if the page has no place for it.
    fn add(&mut self, id: i64, item: T, bytes: usize) -> bool {
        if !self.page.items.is_empty() && self.bytes + bytes > self.max_bytes {
            return false;
        }
        self.bytes += bytes;
        self.page.items.push(item);
        self.page.last = Some(id);
        true
    }
}

/// The key of an order on a page.
struct OrderKey {
    id: i64,
    external_id: String,
    profile_id: Option<String>,
}

/// The orders of an account behind one, oldest first, at most `limit` and about `max_bytes` of them; only those of a
/// touchpoint, if one is named.
///
/// # Errors
/// The database failed, or holds what cannot be.
pub async fn orders(
    conn: &mut PgConnection,
    account_id: i64,
    mut after: i64,
    (limit, max_bytes): (i64, usize),
    endpoint: Option<&str>,
) -> Result<Page<ListedOrder>> {
    let mut reading = Reading::new(limit, max_bytes);
    // One that went meanwhile is left out, as is one that is there again under another number: that comes later. A page of
    // which all went is no page.
    while reading.page.items.is_empty() {
        let keys = order_keys(conn, account_id, after, limit, endpoint).await?;
        let Some(last) = keys.last() else { break };
        after = last.id;
        let mut keys = keys.as_slice();
        while !keys.is_empty() {
            let (some, others) = keys.split_at(reading.next().min(keys.len()));
            if some.is_empty() {
                return Ok(reading.page);
            }
            keys = others;
            let external_ids: Vec<&str> = some.iter().map(|key| &*key.external_id).collect();
            let mut orders = super::orders::read(conn, account_id, &external_ids).await?;
            for key in some {
                let order = orders.remove(&key.external_id).filter(|order| order.id == key.id);
                let Some(order) = order else { continue };
                let no_profile =
                    || Error::Corrupt { table: "orders", column: "profile", what: format!("of order {}", order.id) };
                let profile_id = key.profile_id.clone().ok_or_else(no_profile)?;
                let bytes = order_bytes(&order);
                let listed = ListedOrder { external_id: key.external_id.clone(), profile_id, order };
                if !reading.add(key.id, listed, bytes) {
                    return Ok(reading.page);
                }
            }
        }
    }
    Ok(reading.page)
}

async fn order_keys(
    conn: &mut PgConnection,
    account_id: i64,
    after: i64,
    limit: i64,
    endpoint: Option<&str>,
) -> Result<Vec<OrderKey>> {
    let keys = sqlx::query_as!(
        OrderKey,
        "-- orders.page
        select o.id, o.external_id, p.profile_id as \"profile_id?\" from (
            select id, external_id, profile from orders
            where account_id = $1 and id > $2 and ($4::text is null or endpoint = $4)
            order by id limit $3
        ) o
        left join lateral (select profile_id from profiles p where p.account_id = $1 and p.id = o.profile offset 0) p on true
        order by o.id",
        account_id,
        after,
        limit,
        endpoint,
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

fn value_bytes(value: &Value) -> usize {
    if let Value::Text(text) = value { text.len() } else { 0 }
}

/// The imported products or SKUs of an account behind one, oldest first, at most `limit` and about `max_bytes` of them;
/// products with their SKUs. Stubs are left out.
///
/// # Errors
/// See [`orders`].
pub async fn items(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    after: i64,
    (limit, max_bytes): (i64, usize),
) -> Result<Page<ListedItem>> {
    let mut reading = Reading::new(limit, max_bytes);
    loop {
        let next = reading.next();
        let rows = item_rows(conn, account_id, kind, reading.page.last.unwrap_or(after), next).await?;
        let is_last = rows.len() < next;
        let mut skus = HashMap::new();
        if kind == ItemType::Product {
            let products: Vec<&str> = rows.iter().map(|row| &*row.external_id).collect();
            skus = skus_of(conn, account_id, &products).await?;
        }
        for row in rows {
            let skus = skus.remove(&row.external_id).unwrap_or_default();
            let bytes = row.bytes() + skus.iter().map(Row::bytes).sum::<usize>();
            let skus = skus.into_iter().map(Row::listed).collect::<Result<_>>()?;
            if !reading.add(row.id, ListedItem { skus, ..row.listed()? }, bytes) {
                return Ok(reading.page);
            }
        }
        if is_last || reading.next() == 0 {
            return Ok(reading.page);
        }
    }
}

async fn item_rows(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    after: i64,
    limit: usize,
) -> Result<Vec<Row>> {
    let rows = sqlx::query_as!(
        Row,
        "-- items.page
        select id as \"id!\", revision as \"revision!\", external_id as \"external_id!\", stub as \"stub!\", name, product, content as \"content!\" from (
            select * from (
                select id, revision, external_id, stub, name, null as product, content::text from products
                where $2 and account_id = $1 and id > $3 and not stub order by id limit $4
            ) p
            union all
            select * from (
                select id, revision, external_id, stub, name, product, content::text from skus
                where not $2 and account_id = $1 and id > $3 and not stub order by id limit $4
            ) s
        ) i order by id",
        account_id,
        kind == ItemType::Product,
        after,
        i64::try_from(limit).unwrap_or(i64::MAX),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

async fn skus_of(conn: &mut PgConnection, account_id: i64, products: &[&str]) -> Result<HashMap<String, Vec<Row>>> {
    let rows = sqlx::query_as!(
        Row,
        "-- skus.of_products
        select id, revision, external_id, stub, name, product, content::text as \"content!\" from skus
        where account_id = $1 and product = any($2) and not stub order by id",
        account_id,
        products as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let mut skus: HashMap<String, Vec<Row>> = HashMap::new();
    for row in rows {
        skus.entry(row.product.clone().unwrap_or_default()).or_default().push(row);
    }
    Ok(skus)
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
/// The database failed, or holds what cannot be.
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
