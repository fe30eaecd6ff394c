//! Accounts, and what an operator sets up in them.

use sqlx::PgConnection;

use super::{Error, Result};

/// An account as it is listed.
#[derive(Debug)]
pub struct Account {
    /// The internal id.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// The account of that name.
///
/// # Errors
/// The database failed; so for all functions here.
pub async fn find(conn: &mut PgConnection, name: &str) -> Result<Option<Account>> {
    let row = sqlx::query_as!(
        Account,
        "-- accounts.find
        select id, name from accounts where name = $1",
        name,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// All accounts, by name.
///
/// # Errors
/// See [`find`].
pub async fn list(conn: &mut PgConnection) -> Result<Vec<Account>> {
    let rows = sqlx::query_as!(
        Account,
        "-- accounts.list
        select id, name from accounts order by name",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Makes an account. `None` if the name is taken.
///
/// # Errors
/// See [`find`].
pub async fn create(conn: &mut PgConnection, name: &str) -> Result<Option<i64>> {
    let id = sqlx::query_scalar!(
        "-- accounts.create
        insert into accounts (name) values ($1) on conflict (name) do nothing returning id",
        name,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// Sets the reference policies; `None` keeps.
///
/// # Errors
/// See [`find`].
pub async fn set_policies(
    conn: &mut PgConnection,
    account_id: i64,
    profile: Option<&str>,
    product: Option<&str>,
    sku: Option<&str>,
) -> Result<()> {
    sqlx::query!(
        "-- accounts.set_policies
        update accounts set unknown_profile = coalesce($2, unknown_profile),
            unknown_product = coalesce($3, unknown_product), unknown_sku = coalesce($4, unknown_sku)
        where id = $1",
        account_id,
        profile,
        product,
        sku,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What an order does with an unknown customer, product and SKU: `create` or `reject`, each with the policy's name.
///
/// # Errors
/// See [`find`].
pub async fn policies(conn: &mut PgConnection, account_id: i64) -> Result<[(&'static str, String); 3]> {
    let row = sqlx::query!(
        "-- accounts.list_policies
        select unknown_profile, unknown_product, unknown_sku from accounts where id = $1",
        account_id,
    )
    .fetch_one(conn)
    .await?;
    Ok([
        ("unknown_profile", row.unknown_profile),
        ("unknown_product", row.unknown_product),
        ("unknown_sku", row.unknown_sku),
    ])
}

/// Locks the account's definitions until the end of the transaction.
///
/// # Errors
/// See [`find`].
pub async fn lock_definitions(conn: &mut PgConnection, account_id: i64) -> Result<()> {
    sqlx::query!("-- accounts.lock_definitions\nselect id from accounts where id = $1 for no key update", account_id)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// Makes a sales channel on a profile database, which is made if it is new. False if the id is taken.
///
/// # Errors
/// See [`find`].
pub async fn create_channel(
    conn: &mut PgConnection,
    account_id: i64,
    external_id: &str,
    database: &str,
) -> Result<bool> {
    let done = sqlx::query!(
        "-- channels.create
        with made as (
            insert into profile_databases (account_id, name) select $1, $3
            where not exists (select from channels where account_id = $1 and external_id = $2)
            on conflict (account_id, name) do nothing returning id
        ), base as (
            select id from made union all select id from profile_databases where account_id = $1 and name = $3
        )
        insert into channels (account_id, external_id, profile_database_id) select $1, $2, id from base
        on conflict (account_id, external_id) do nothing",
        account_id,
        external_id,
        database,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The channels of an account: external id and profile database.
///
/// # Errors
/// See [`find`].
pub async fn list_channels(conn: &mut PgConnection, account_id: i64) -> Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        "-- channels.list
        select c.external_id, d.name from channels c
        join profile_databases d on d.account_id = c.account_id and d.id = c.profile_database_id
        where c.account_id = $1 order by c.external_id",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.external_id, row.name)).collect())
}

/// What became of a new touchpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewTouchpoint {
    /// It is there now.
    Created,
    /// The id is taken.
    Taken,
    /// There is no such channel.
    NoChannel,
}

/// Makes a touchpoint of a channel.
///
/// # Errors
/// See [`find`].
pub async fn create_touchpoint(
    conn: &mut PgConnection,
    account_id: i64,
    external_id: &str,
    channel: &str,
) -> Result<NewTouchpoint> {
    let made = sqlx::query!(
        "-- touchpoints.create
        insert into touchpoints (account_id, external_id, channel) values ($1, $2, $3)
        on conflict (account_id, external_id) do nothing",
        account_id,
        external_id,
        channel,
    )
    .execute(conn)
    .await;
    match made {
        Ok(done) if done.rows_affected() == 1 => Ok(NewTouchpoint::Created),
        Ok(_) => Ok(NewTouchpoint::Taken),
        Err(error) => match error.as_database_error().and_then(sqlx::error::DatabaseError::constraint) {
            Some("touchpoints_account_id_channel_fkey") => Ok(NewTouchpoint::NoChannel),
            _ => Err(Error::from(error)),
        },
    }
}

/// The touchpoints of an account: external id and channel.
///
/// # Errors
/// See [`find`].
pub async fn list_touchpoints(conn: &mut PgConnection, account_id: i64) -> Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        "-- touchpoints.list
        select external_id, channel from touchpoints where account_id = $1 order by external_id",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.external_id, row.channel)).collect())
}

/// Makes a region. False if the id is taken.
///
/// # Errors
/// See [`find`].
pub async fn create_region(conn: &mut PgConnection, account_id: i64, external_id: &str, name: &str) -> Result<bool> {
    let done = sqlx::query!(
        "-- regions.create
        insert into regions (account_id, external_id, name) values ($1, $2, $3)
        on conflict (account_id, external_id) do nothing",
        account_id,
        external_id,
        name,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The regions of an account: external id and name.
///
/// # Errors
/// See [`find`].
pub async fn list_regions(conn: &mut PgConnection, account_id: i64) -> Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        "-- regions.list
        select external_id, name from regions where account_id = $1 order by external_id",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.external_id, row.name)).collect())
}

/// Allows a currency. False if it was allowed.
///
/// # Errors
/// See [`find`].
pub async fn create_currency(conn: &mut PgConnection, account_id: i64, code: &str) -> Result<bool> {
    let done = sqlx::query!(
        "-- currencies.create
        insert into currencies (account_id, code) values ($1, $2) on conflict (account_id, code) do nothing",
        account_id,
        code,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The currencies of an account.
///
/// # Errors
/// See [`find`].
pub async fn list_currencies(conn: &mut PgConnection, account_id: i64) -> Result<Vec<String>> {
    let rows = sqlx::query_scalar!(
        "-- currencies.list
        select code from currencies where account_id = $1 order by code",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Makes an order status. False if it is there.
///
/// # Errors
/// See [`find`].
pub async fn create_order_status(conn: &mut PgConnection, account_id: i64, external_id: &str) -> Result<bool> {
    let done = sqlx::query!(
        "-- order_statuses.create
        insert into order_statuses (account_id, external_id) values ($1, $2)
        on conflict (account_id, external_id) do nothing",
        account_id,
        external_id,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The order statuses of an account beside the built-in ones.
///
/// # Errors
/// See [`find`].
pub async fn list_order_statuses(conn: &mut PgConnection, account_id: i64) -> Result<Vec<String>> {
    let rows = sqlx::query_scalar!(
        "-- order_statuses.list
        select external_id from order_statuses where account_id = $1 order by external_id",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
