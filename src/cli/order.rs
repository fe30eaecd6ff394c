//! `order`: one order or some, as the calls `orders/get` and `orders/list` show them.

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::value::RawValue;
use serde_json::{Map as JsonMap, Value as Json, json};

use super::files::{Target, Where};
use super::output::{Output, print};
use super::transfer::Opened;
use crate::config::Settings;

/// Most orders of a page.
const PAGE: u32 = 1_000;

/// What a list of orders shows of each.
const COLUMNS: [&str; 7] = ["id", "external_id", "status", "endpoint", "total_price", "currency", "update_time"];
/// What is shown of an order, as far as it has it.
const FIELDS: [&str; 14] = [
    "id",
    "external_id",
    "status",
    "endpoint",
    "total_price",
    "currency",
    "delivery_cost",
    "region",
    "tags",
    "custom_fields",
    "create_time",
    "update_time",
    "money",
    "revision",
];
/// What is shown of each line of an order.
const LINE: [&str; 6] = ["external_id", "product", "sku", "status", "final_price_per_item", "count"];

/// Which order is shown.
#[derive(Debug, Clone, Args)]
pub(super) struct ShowArguments {
    #[command(flatten)]
    place: Where,
    /// Its external id
    #[arg(required_unless_present = "id")]
    external_id: Option<String>,
    /// Its internal id
    #[arg(long)]
    id: Option<u64>,
}

/// Which orders are listed: those for which all of it holds.
#[derive(Debug, Clone, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    place: Where,
    /// Only those of these external ids
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    external_ids: Option<Vec<String>>,
    /// Only those of these statuses
    #[arg(long, value_delimiter = ',', value_name = "STATUSES")]
    statuses: Option<Vec<String>>,
    /// Only those of this touchpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Only those updated at this time or later, like 2030-01-31 or 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    updated_from: Option<String>,
    /// Only those updated before this time
    #[arg(long, value_name = "TIME")]
    updated_to: Option<String>,
    /// Only those of the customer with this e-mail address
    #[arg(long)]
    email: Option<String>,
    /// Only those of the customer with this phone number
    #[arg(long)]
    phone: Option<String>,
    /// The newest first, not the oldest
    #[arg(long)]
    newest_first: bool,
    /// With --output json: show what is known of the customers, in a form that goes into another account
    #[arg(long)]
    with_customers: bool,
    /// At most so many
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u32,
}

/// Shows an order and who wrote it.
pub(super) async fn show(settings: Settings, output: Output, arguments: &ShowArguments) -> anyhow::Result<()> {
    let opened = Opened::of(settings, &arguments.place).await?;
    let mut body = json!({"detail": true});
    set(&mut body, "external_id", arguments.external_id.as_ref());
    set(&mut body, "id", arguments.id.as_ref());
    let answer = call(opened.target(), "orders/get", &body).await;
    opened.close().await?;
    let order = answer?.result;
    if output == Output::Json {
        return print(order.get());
    }
    let order: Json = serde_json::from_str(order.get())?;
    let is_empty = |value: &&Json| value.as_object().is_some_and(JsonMap::is_empty);
    let value = |name: &str| order.get(name).filter(|value| !is_empty(value));
    let field = |name: &&str| value(name).map(|value| vec![json!(name), value.clone()]);
    let rows: Vec<Vec<Json>> = FIELDS.iter().filter_map(field).chain(who(&order)).collect();
    output.rows(&["field", "value"], &rows)?;
    let lines = order.get("lines").and_then(Json::as_array).into_iter().flatten();
    let lines: Vec<Vec<Json>> = lines.map(|line| cells(line, &LINE)).collect();
    print("")?;
    output.rows(&LINE, &lines)
}

/// Lists orders.
pub(super) async fn list(settings: Settings, output: Output, arguments: &ListArguments) -> anyhow::Result<()> {
    let opened = Opened::of(settings, &arguments.place).await?;
    let orders = all(opened.target(), arguments).await;
    opened.close().await?;
    let orders = orders?;
    if output == Output::Json {
        return print(&serde_json::to_string(&orders)?);
    }
    let row = |order: &RawValue| Ok(cells(&serde_json::from_str(order.get())?, &COLUMNS));
    output.rows(&COLUMNS, &orders.iter().map(|order| row(order)).collect::<anyhow::Result<Vec<_>>>()?)
}

/// The orders of as many pages as are asked for.
async fn all(target: &Target, arguments: &ListArguments) -> anyhow::Result<Vec<Box<RawValue>>> {
    let mut body = json!({"newest_first": arguments.newest_first, "with_customer": arguments.with_customers});
    set(&mut body, "external_ids", arguments.external_ids.as_ref());
    set(&mut body, "statuses", arguments.statuses.as_ref());
    set(&mut body, "endpoint", arguments.endpoint.as_ref());
    set(&mut body, "updated_from", arguments.updated_from.as_ref());
    set(&mut body, "updated_to", arguments.updated_to.as_ref());
    set(&mut body, "email", arguments.email.as_ref());
    set(&mut body, "phone", arguments.phone.as_ref());
    let mut orders: Vec<Box<RawValue>> = Vec::new();
    loop {
        let left = arguments.limit.saturating_sub(u32::try_from(orders.len()).unwrap_or(u32::MAX));
        if left == 0 {
            eprintln!("{} orders; there may be more: say --limit", orders.len());
            return Ok(orders);
        }
        set(&mut body, "limit", Some(&left.min(PAGE)));
        let answer = call(target, "orders/list", &body).await?;
        orders.extend(serde_json::from_str::<Vec<Box<RawValue>>>(answer.result.get())?);
        if answer.next_from_id.is_empty() {
            return Ok(orders);
        }
        set(&mut body, "from_id", Some(&answer.next_from_id));
    }
}

fn set<T: serde::Serialize>(body: &mut Json, name: &str, value: Option<&T>) {
    if let Some(value) = value {
        body[name] = json!(value);
    }
}

/// An answer.
#[derive(serde::Deserialize)]
struct Answer {
    error: u16,
    error_text: String,
    /// As it was written.
    #[serde(default)]
    result: Box<RawValue>,
    #[serde(default)]
    next_from_id: String,
}

/// The answer, if the call was carried out.
async fn call(target: &Target, call: &str, body: &Json) -> anyhow::Result<Answer> {
    let (_, answer) = target.post(call, "application/json", body.to_string().into_bytes()).await?;
    let answer: Answer = serde_json::from_slice(&answer)
        .with_context(|| format!("the answer is {:.300}", String::from_utf8_lossy(&answer)))?;
    if answer.error > 0 {
        bail!(answer.error_text);
    }
    Ok(answer)
}

fn cells(object: &Json, columns: &[&str]) -> Vec<Json> {
    columns.iter().map(|column| object.get(*column).cloned().unwrap_or_default()).collect()
}

/// The rows of an order's customer, one for each key, and of the request that changed it last.
fn who(order: &Json) -> Vec<Vec<Json>> {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let mut rows = vec![vec![json!("profile_id"), order["customer"]["profile_id"].clone()]];
    for key in order["customer"]["keys"].as_array().into_iter().flatten() {
        let name = key.get("name").map(|name| format!(" {}", text(name))).unwrap_or_default();
        rows.push(vec![json!(format!("{}{name}", text(&key["kind"]))), key["value"].clone()]);
    }
    for (title, name) in
        [("changed_at", "time"), ("changed_by_request", "request_id"), ("changed_by_token", "token_id")]
    {
        if let Some(value) = order["import"].get(name) {
            rows.push(vec![json!(title), value.clone()]);
        }
    }
    rows
}
