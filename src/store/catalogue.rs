//! Products and SKUs, as far as orders need them.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::{Result, sets};

/// Which of these products, of so many orders, the account has.
///
/// # Errors
/// The database failed; so for all functions here.
pub async fn known_products(
    conn: &mut PgConnection,
    account_id: i64,
    ids: &[&str],
    orders: usize,
) -> Result<HashSet<String>> {
    let mut known = HashSet::new();
    for ids in sets(ids, orders) {
        let rows = sqlx::query_scalar!(
            "-- products.known
            select external_id from products where account_id = $1 and external_id = any($2)",
            account_id,
            ids as &[&str],
        )
        .fetch_all(&mut *conn)
        .await?;
        known.extend(rows);
    }
    Ok(known)
}

/// Which of these SKUs, of so many orders, the account has.
///
/// # Errors
/// See [`known_products`].
pub async fn known_skus(
    conn: &mut PgConnection,
    account_id: i64,
    ids: &[&str],
    orders: usize,
) -> Result<HashSet<String>> {
    let mut known = HashSet::new();
    for ids in sets(ids, orders) {
        let rows = sqlx::query_scalar!(
            "-- skus.known
            select external_id from skus where account_id = $1 and external_id = any($2)",
            account_id,
            ids as &[&str],
        )
        .fetch_all(&mut *conn)
        .await?;
        known.extend(rows);
    }
    Ok(known)
}

/// Makes stubs of the products of so many orders that are not there; `ids` sorted, each once. Returns how many it made.
///
/// # Errors
/// See [`known_products`].
pub async fn create_product_stubs(
    conn: &mut PgConnection,
    account_id: i64,
    ids: &[&str],
    orders: usize,
) -> Result<usize> {
    let mut created = 0;
    for ids in sets(ids, orders) {
        let done = sqlx::query!(
            "-- products.create_stubs
            insert into products (account_id, external_id, stub)
            select $1, k.id, true from unnest($2::text[]) with ordinality as k (id, place)
            order by k.place
            on conflict (account_id, external_id) do nothing",
            account_id,
            ids as &[&str],
        )
        .execute(&mut *conn)
        .await?;
        created += usize::try_from(done.rows_affected()).unwrap_or(usize::MAX);
    }
    Ok(created)
}

/// Makes stubs of the SKUs that are not there, each with its product, if there is one; sorted, each id once.
///
/// # Errors
/// See [`known_products`].
pub async fn create_sku_stubs(
    conn: &mut PgConnection,
    account_id: i64,
    skus: &[(&str, Option<&str>)],
    orders: usize,
) -> Result<()> {
    for skus in sets(skus, orders) {
        let ids: Vec<&str> = skus.iter().map(|(id, _)| *id).collect();
        let products: Vec<Option<&str>> = skus.iter().map(|(_, product)| *product).collect();
        sqlx::query!(
            "-- skus.create_stubs
            insert into skus (account_id, external_id, product, stub)
            select $1, k.id, k.product, true from unnest($2::text[], $3::text[]) with ordinality as k (id, product, place)
            order by k.place
            on conflict (account_id, external_id) do nothing",
            account_id,
            &ids as &[&str],
            &products as &[Option<&str>],
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
