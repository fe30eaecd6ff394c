//! What the command line and the admin API do alike with what an account has: its settings and its tokens.
//!
//! Never enters: HTTP, formats, queries.

use serde_json::{Value as Json, json};
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;

use crate::auth;
use crate::domain::line_statuses::BUILT_IN_ORDER_STATUSES;
use crate::domain::place::Place;
use crate::domain::rejection::{Problem, Rejection, known};
use crate::domain::scalars::time_text;
use crate::domain::{MAX_KEY_CHARS, scalars};
use crate::store;
use crate::store::accounts::{self, NewTouchpoint};
use crate::store::tokens;

/// The profile database of a channel that names none.
pub const DEFAULT_DATABASE: &str = "main";

/// Why something could not be had or made.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What was said is wrong; where, what was expected and what was found.
    #[error("{0}")]
    Wrong(String),
    /// It is not there.
    #[error("{0}")]
    Missing(String),
    /// A reference is unknown.
    #[error("{}", .0.text(""))]
    Unknown(Rejection),
    /// It is there already.
    #[error("{0}")]
    Taken(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The system gives no random bytes.
    #[error("random bytes")]
    Random(#[from] getrandom::Error),
}

/// An id or a name that can be stored and looked up, without what nobody sees around it.
///
/// # Errors
/// It is too short or too long, or holds control characters.
pub fn key<'k>(field: &str, text: &'k str) -> Result<&'k str, Refused> {
    name(field, scalars::id(text))
}

/// A name that can be stored, as it is.
fn name<'n>(field: &str, text: &'n str) -> Result<&'n str, Refused> {
    let chars = text.chars().count();
    if !(1..=MAX_KEY_CHARS).contains(&chars) {
        return Err(Refused::Wrong(format!("{field}: expected 1 to {MAX_KEY_CHARS} characters, found {chars}")));
    }
    if text.chars().any(char::is_control) {
        return Err(Refused::Wrong(format!("{field}: expected no control characters, found {text:?}")));
    }
    Ok(text)
}

fn made(field: &str, thing: &str, id: &str, is_new: bool) -> Result<(), Refused> {
    if is_new { Ok(()) } else { Err(Refused::Taken(format!("{field}: {thing} {id:?} is there already"))) }
}

/// The field by which most things are named.
const EXTERNAL_ID: &str = "external_id";

/// Rows with their columns' names.
#[derive(Debug)]
pub struct Table {
    /// The names.
    pub columns: &'static [&'static str],
    /// Every row has as many cells as there are columns.
    pub rows: Vec<Vec<Json>>,
}

impl Table {
    fn pairs(columns: &'static [&'static str; 2], rows: Vec<(String, String)>) -> Self {
        Table { columns, rows: rows.into_iter().map(|(a, b)| vec![json!(a), json!(b)]).collect() }
    }
}

/// Makes a sales channel on a profile database, which is made if it is new.
///
/// # Errors
/// An id cannot be one, or is taken; or the database failed. So do the functions below that make something.
pub async fn create_channel(
    conn: &mut PgConnection,
    account_id: i64,
    external_id: &str,
    database: &str,
) -> Result<(), Refused> {
    let (id, database) = (key(EXTERNAL_ID, external_id)?, key("database", database)?);
    made(EXTERNAL_ID, "channel", id, accounts::create_channel(conn, account_id, id, database).await?)
}

/// The channels.
///
/// # Errors
/// The database failed; so do the functions below that list something.
pub async fn channels(conn: &mut PgConnection, account_id: i64) -> Result<Table, Refused> {
    Ok(Table::pairs(&["external_id", "database"], accounts::list_channels(conn, account_id).await?))
}

/// Makes a touchpoint of a channel.
///
/// # Errors
/// There is no such channel, too.
pub async fn create_touchpoint(
    conn: &mut PgConnection,
    account_id: i64,
    external_id: &str,
    channel: &str,
) -> Result<(), Refused> {
    let (external_id, channel) = (key(EXTERNAL_ID, external_id)?, scalars::id(channel));
    match accounts::create_touchpoint(conn, account_id, external_id, channel).await? {
        NewTouchpoint::NoChannel => {
            let channels = accounts::list_channels(conn, account_id).await?;
            let known = known(channels.iter().map(|(id, _)| id.as_str()));
            let problem = Problem::unknown_of("channel", channel, &known);
            Err(Refused::Unknown(Rejection::new(Place::default().field("channel"), problem)))
        }
        new => made(EXTERNAL_ID, "touchpoint", external_id, new == NewTouchpoint::Created),
    }
}

/// The touchpoints.
///
/// # Errors
/// See [`channels`].
pub async fn touchpoints(conn: &mut PgConnection, account_id: i64) -> Result<Table, Refused> {
    Ok(Table::pairs(&["external_id", "channel"], accounts::list_touchpoints(conn, account_id).await?))
}

/// Allows currencies: all of them, or none; returns them in upper case.
///
/// # Errors
/// One is no currency, or is there.
pub async fn create_currencies(
    conn: &mut PgConnection,
    account_id: i64,
    codes: &[String],
) -> Result<Vec<String>, Refused> {
    let codes: Vec<&str> = codes.iter().map(|code| scalars::id(code)).collect();
    if let Some((place, code)) = codes.iter().enumerate().find(|(_, code)| !scalars::is_currency(code)) {
        return Err(Refused::Wrong(format!("codes[{place}]: expected three letters, found {code:?}")));
    }
    let codes: Vec<String> = codes.into_iter().map(str::to_ascii_uppercase).collect();
    let mut transaction = conn.begin().await.map_err(store::Error::from)?;
    for (place, code) in codes.iter().enumerate() {
        let is_new = accounts::create_currency(&mut transaction, account_id, code).await?;
        made(&format!("codes[{place}]"), "currency", code, is_new)?;
    }
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(codes)
}

/// The currencies.
///
/// # Errors
/// See [`channels`].
pub async fn currencies(conn: &mut PgConnection, account_id: i64) -> Result<Table, Refused> {
    let rows = accounts::list_currencies(conn, account_id).await?;
    Ok(Table { columns: &["code"], rows: rows.into_iter().map(|code| vec![json!(code)]).collect() })
}

/// Makes a region; its name is its id unless there is another.
///
/// # Errors
/// See [`create_channel`].
pub async fn create_region(
    conn: &mut PgConnection,
    account_id: i64,
    external_id: &str,
    name: Option<&str>,
) -> Result<(), Refused> {
    let id = key(EXTERNAL_ID, external_id)?;
    let name = self::name("name", name.unwrap_or(id))?;
    made(EXTERNAL_ID, "region", id, accounts::create_region(conn, account_id, id, name).await?)
}

/// The regions.
///
/// # Errors
/// See [`channels`].
pub async fn regions(conn: &mut PgConnection, account_id: i64) -> Result<Table, Refused> {
    Ok(Table::pairs(&["external_id", "name"], accounts::list_regions(conn, account_id).await?))
}

/// Makes an order status beside the built-in ones.
///
/// # Errors
/// See [`create_channel`].
pub async fn create_order_status(conn: &mut PgConnection, account_id: i64, external_id: &str) -> Result<(), Refused> {
    let id = key(EXTERNAL_ID, external_id)?;
    let built_in = BUILT_IN_ORDER_STATUSES.contains(&id);
    made(EXTERNAL_ID, "order status", id, !built_in && accounts::create_order_status(conn, account_id, id).await?)
}

/// The order statuses, the built-in ones first.
///
/// # Errors
/// See [`channels`].
pub async fn order_statuses(conn: &mut PgConnection, account_id: i64) -> Result<Table, Refused> {
    let own = accounts::list_order_statuses(conn, account_id).await?;
    let built_in = BUILT_IN_ORDER_STATUSES.iter().map(|status| vec![json!(status), json!(true)]);
    let rows = built_in.chain(own.iter().map(|status| vec![json!(status), json!(false)])).collect();
    Ok(Table { columns: &["external_id", "built_in"], rows })
}

/// Reference policies to be set, each `create` or `reject`; those that are absent stay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policies<'p> {
    /// For customers.
    pub unknown_profile: Option<&'p str>,
    /// For products.
    pub unknown_product: Option<&'p str>,
    /// For SKUs.
    pub unknown_sku: Option<&'p str>,
}

/// Sets reference policies.
///
/// # Errors
/// None is there, or one is no policy; or the database failed.
pub async fn set_policies(conn: &mut PgConnection, account_id: i64, policies: Policies<'_>) -> Result<(), Refused> {
    let Policies { unknown_profile, unknown_product, unknown_sku } = policies;
    let all =
        [("unknown_profile", unknown_profile), ("unknown_product", unknown_product), ("unknown_sku", unknown_sku)];
    if all.iter().all(|(_, policy)| policy.is_none()) {
        let text = "unknown_profile: required, or unknown_product or unknown_sku";
        return Err(Refused::Wrong(text.to_owned()));
    }
    for (name, policy) in all {
        if let Some(policy) = policy.filter(|policy| !["create", "reject"].contains(policy)) {
            return Err(Refused::Wrong(format!("{name}: expected create or reject, found {policy:?}")));
        }
    }
    Ok(accounts::set_policies(conn, account_id, unknown_profile, unknown_product, unknown_sku).await?)
}

/// The reference policies.
///
/// # Errors
/// See [`channels`].
pub async fn policies(conn: &mut PgConnection, account_id: i64) -> Result<Table, Refused> {
    let policies = accounts::policies(conn, account_id).await?;
    Ok(Table::pairs(&["policy", "value"], policies.map(|(name, value)| (name.to_owned(), value)).to_vec()))
}

/// A token to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewToken<'t> {
    /// What people call it; may be empty.
    pub name: &'t str,
    /// What it may do.
    pub roles: &'t [String],
    /// When it ends by itself.
    pub expires_at: Option<OffsetDateTime>,
    /// The token that clients already carry; else a new one is made up.
    pub value: Option<&'t str>,
}

/// Makes a token; returns its internal id and the token itself, which is stored nowhere.
///
/// # Errors
/// A role is none, the time is over, the token is taken; or the database failed.
pub async fn create_token(
    conn: &mut PgConnection,
    account_id: i64,
    new: NewToken<'_>,
    now: OffsetDateTime,
) -> Result<(i64, String), Refused> {
    let NewToken { name, roles, expires_at, value } = new;
    let names = "market, orders:read, orders:write, catalog:read, catalog:write or admin";
    if roles.is_empty() {
        return Err(Refused::Wrong(format!("roles: expected some of {names}, found none")));
    }
    if let Some((place, role)) = roles.iter().enumerate().find(|(_, role)| !auth::is_role(role)) {
        return Err(Refused::Wrong(format!("roles[{place}]: expected {names}, found {role:?}")));
    }
    if !name.is_empty() {
        self::name("name", name)?;
    }
    if let Some(at) = expires_at.filter(|at| *at <= now) {
        return Err(Refused::Wrong(format!("expires_at: expected a time to come, found {}", time_text(at))));
    }
    let value = match value {
        Some(value) => value.to_owned(),
        None => auth::generate()?,
    };
    let id = tokens::create(conn, account_id, &auth::hash(&value), name, roles, expires_at).await?;
    let taken = || Refused::Taken("token: it is there already; one that was revoked stays so".to_owned());
    Ok((id.ok_or_else(taken)?, value))
}

/// The tokens, without themselves.
///
/// # Errors
/// See [`channels`].
pub async fn tokens(conn: &mut PgConnection, account_id: i64) -> Result<Table, Refused> {
    let time = |time: Option<OffsetDateTime>| json!(time.map(time_text));
    let row = |t: tokens::ListedToken| {
        vec![
            json!(t.id),
            json!(t.name),
            json!(t.roles),
            time(Some(t.created_at)),
            time(t.expires_at),
            time(t.revoked_at),
            time(t.last_used_at),
        ]
    };
    let rows = tokens::list(conn, account_id).await?.into_iter().map(row).collect();
    Ok(Table { columns: &["id", "name", "roles", "created_at", "expires_at", "revoked_at", "last_used_at"], rows })
}

/// Ends a token at once, on all servers.
///
/// # Errors
/// The account has none of that id that still lives; or the database failed.
pub async fn revoke_token(
    conn: &mut PgConnection,
    account_id: i64,
    id: i64,
    now: OffsetDateTime,
) -> Result<(), Refused> {
    if tokens::revoke(conn, account_id, id, now).await? {
        return Ok(());
    }
    Err(Refused::Missing(format!("id: expected a token of the account's that is not revoked, found {id}")))
}
