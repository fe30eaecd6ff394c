//! `serve --demo`: an account in which Altcraft's own example imports as it stands.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use sqlx::PgPool;

use crate::auth;
use crate::store::{self, accounts};

const ACCOUNT: &str = "demo";
const CURRENCIES: [&str; 3] = ["USD", "EUR", "RUB"];

/// Sets the demo's account up, once; `fresh`: the database may be marked if it has no accounts.
pub(super) async fn set_up(pool: &PgPool, fresh: bool) -> anyhow::Result<()> {
    let mut transaction = store::connect::begin(pool).await?;
    let conn = &mut *transaction;
    if fresh {
        store::connect::mark_demo(conn).await?;
    }
    if !store::connect::is_demo(conn).await? {
        bail!(
            "serve --demo: expected a new database or one that a demo made, found another: its token is public. \
             Give the demo a data directory or a database of its own"
        );
    }
    let account = match accounts::find(conn, ACCOUNT).await? {
        Some(account) => account.id,
        None => accounts::create(conn, ACCOUNT).await?.context("the account demo")?,
    };
    accounts::create_channel(conn, account, "web", "main").await?;
    accounts::create_touchpoint(conn, account, "website", "web").await?;
    for currency in CURRENCIES {
        accounts::create_currency(conn, account, currency).await?;
    }
    accounts::create_region(conn, account, "region_YnCrJj8Y1", "region_YnCrJj8Y1").await?;
    let roles = [auth::MARKET.to_owned()];
    store::tokens::create(conn, account, &auth::hash(auth::DEMO_TOKEN), "demo", &roles, None).await?;
    transaction.commit().await?;
    Ok(())
}

/// Prints the address, the token, and lines that work when they are pasted.
pub(super) fn print_how_to_try(address: SocketAddr) {
    let token = auth::DEMO_TOKEN;
    let url = format!("http://{address}/api/v1.1/market/orders/import");
    println!(
        r#"
ordergate demo
  address  http://{address}
  token    {token}

Import an order (paste into another terminal; Ctrl-C here stops the server):

  curl -sS {url} -H 'Content-Type: application/json' -d '{{"token":"{token}","detail":true,"data":[{{"external_id":"1","email":"johndoe@example.com","endpoint":"website","status":"new","total_price":"1000","currency":"USD","lines":[{{"external_id":"line_01","product":"iphone"}}]}}]}}'

  curl -sS {url} -H 'Content-Type: application/xml' -d '<xml><token>{token}</token><detail>true</detail><data><external_id>2</external_id><email>johndoe@example.com</email><endpoint>website</endpoint><status>new</status><total_price>1000</total_price><currency>USD</currency><lines><external_id>line_01</external_id><product>iphone</product></lines></data></xml>'
"#
    );
}
