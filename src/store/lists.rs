//! Orders, products and SKUs as clients list them, and orders as they look them up.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::items::Row;
use super::{Error, Result};
use crate::domain::catalogue::{ItemType, ListedItem};
use crate::domain::orders::ListedOrder;

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// What stands on it.
    pub items: Vec<T>,
    /// The internal id of the last one, unless nothing comes behind it.
    pub last: Option<i64>,
}

impl<T> Page<T> {
    /// A page of at most `limit` items, of which one more was read, if there is one more.
    pub(super) fn cut(mut items: Vec<T>, limit: i64, id: impl Fn(&T) -> i64) -> Self {
        let more = i64::try_from(items.len()).is_ok_and(|found| found > limit);
        if more {
            items.pop();
        }
        let last = items.last().map(id).filter(|_| more);
        Page { items, last }
    }
}

/// The orders of an account behind one, oldest first; only those of a touchpoint, if one is named.
///
/// # Errors
/// The database failed, or holds what cannot be.
pub async fn orders(
    conn: &mut PgConnection,
    account_id: i64,
    after: i64,
    limit: i64,
    endpoint: Option<&str>,
) -> Result<Page<ListedOrder>> {
    let keys = sqlx::query!(
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
        limit + 1,
        endpoint,
    )
    .fetch_all(&mut *conn)
    .await?;
    let Page { items: keys, last } = Page::cut(keys, limit, |key| key.id);
    let external_ids: Vec<&str> = keys.iter().map(|key| &*key.external_id).collect();
    let mut orders = super::orders::read(conn, account_id, &external_ids).await?;
    // One that went meanwhile is left out, as is one that is there again under another number: that comes later.
    let listed = keys.into_iter().filter_map(|key| {
        let order = orders.remove(&key.external_id).filter(|order| order.id == key.id)?;
        let no_profile =
            || Error::Corrupt { table: "orders", column: "profile", what: format!("of order {}", order.id) };
        let profile_id = key.profile_id.ok_or_else(no_profile);
        Some(profile_id.map(|profile_id| ListedOrder { external_id: key.external_id, profile_id, order }))
    });
    Ok(Page { items: listed.collect::<Result<_>>()?, last })
}

/// The imported products or SKUs of an account behind one, oldest first; products with their SKUs. Stubs are left out.
///
/// # Errors
/// See [`orders`].
pub async fn items(
    conn: &mut PgConnection,
    account_id: i64,
    kind: ItemType,
    after: i64,
    limit: i64,
) -> Result<Page<ListedItem>> {
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
        limit + 1,
    )
    .fetch_all(&mut *conn)
    .await?;
    let items = rows.into_iter().map(Row::listed).collect::<Result<Vec<_>>>()?;
    let mut page = Page::cut(items, limit, |item| item.id);
    if kind == ItemType::Product {
        let products: Vec<&str> = page.items.iter().map(|item| &*item.external_id).collect();
        let mut skus = skus_of(conn, account_id, &products).await?;
        for item in &mut page.items {
            item.skus = skus.remove(&item.external_id).unwrap_or_default();
        }
    }
    Ok(page)
}

async fn skus_of(
    conn: &mut PgConnection,
    account_id: i64,
    products: &[&str],
) -> Result<HashMap<String, Vec<ListedItem>>> {
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
    let mut skus: HashMap<String, Vec<ListedItem>> = HashMap::new();
    for row in rows {
        let product = row.product.clone().unwrap_or_default();
        skus.entry(product).or_default().push(row.listed()?);
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
