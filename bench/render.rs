//! Orders as the body of a request, in either format, and what the answer has to be.

use std::fmt::{self, Display, Formatter};
use std::io::Write as _;

use anyhow::{Context as _, ensure};

use crate::data::{Id, Order};
use crate::server::TOKEN;

/// How requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Xml,
}

impl Format {
    pub(crate) const ALL: [Format; 2] = [Format::Json, Format::Xml];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Json => "JSON",
            Format::Xml => "XML",
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Xml => "application/xml",
        }
    }

    /// Appends the body of a request.
    pub(crate) fn body(self, out: &mut Vec<u8>, skip_triggers: bool, orders: impl Iterator<Item = Order>) {
        match self {
            Format::Json => json_body(out, skip_triggers, orders),
            Format::Xml => xml_body(out, skip_triggers, orders),
        }
    }

    /// Whether each of so many orders was taken.
    pub(crate) fn check(self, answer: &[u8], orders: usize) -> anyhow::Result<()> {
        let answer = std::str::from_utf8(answer).context("the answer is not UTF-8")?;
        let (whole, item) = match self {
            Format::Json => (r#"{"error":0,"error_text":"","result":["#, r#"{"error":0,"external_id":"#),
            Format::Xml => ("<xml><error>0</error><error_text></error_text>", "<result><error>0</error><external_id>"),
        };
        let taken = answer.matches(item).count();
        ensure!(
            answer.starts_with(whole) && taken == orders,
            "expected {orders} orders to be taken, found {taken}, and the answer {answer:.400}"
        );
        Ok(())
    }
}

/// Writes to memory, which does not fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => {
        write!($out, $($text)*).expect("memory takes everything")
    };
}

fn json_body(out: &mut Vec<u8>, skip_triggers: bool, orders: impl Iterator<Item = Order>) {
    put!(out, r#"{{"token":"{TOKEN}","skip_triggers":{skip_triggers},"data":["#);
    for (place, order) in orders.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        json_order(out, &order);
    }
    out.extend_from_slice(b"]}");
}

fn json_order(out: &mut Vec<u8>, order: &Order) {
    let [first_tag, second_tag] = order.tags;
    put!(
        out,
        r#"{{"external_id":"{}","email":"customer{:07}@example.com","endpoint":"website","status":"{}","total_price":"{}","currency":"{}","create_time":"{}","update_time":"{}","delivery_cost":"{}","tags":["{first_tag}","{second_tag}"],"lines":["#,
        order.id,
        order.customer,
        order.status,
        Money(order.total),
        order.currency,
        Time(order.created),
        Time(order.updated),
        Money(order.delivery),
    );
    for (place, line) in order.lines.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        put!(
            out,
            r#"{{"external_id":"line_{}","product":"product-{:05}","sku":"sku-{:05}","base_price_per_item":"{}","min_price_per_item":"{}","final_price_per_item":"{}","count":{}}}"#,
            place + 1,
            line.product,
            line.product,
            Money(line.base),
            Money(line.min),
            Money(line.last),
            line.count,
        );
    }
    out.extend_from_slice(b"]}");
}

fn xml_body(out: &mut Vec<u8>, skip_triggers: bool, orders: impl Iterator<Item = Order>) {
    put!(out, "<xml><token>{TOKEN}</token><skip_triggers>{skip_triggers}</skip_triggers>");
    for order in orders {
        xml_order(out, &order);
    }
    out.extend_from_slice(b"</xml>");
}

fn xml_order(out: &mut Vec<u8>, order: &Order) {
    let [first_tag, second_tag] = order.tags;
    put!(
        out,
        "<data><external_id>{}</external_id><email>customer{:07}@example.com</email><endpoint>website</endpoint>\
         <status>{}</status><total_price>{}</total_price><currency>{}</currency><create_time>{}</create_time>\
         <update_time>{}</update_time><delivery_cost>{}</delivery_cost><tags>{first_tag}</tags><tags>{second_tag}</tags>",
        order.id,
        order.customer,
        order.status,
        Money(order.total),
        order.currency,
        Time(order.created),
        Time(order.updated),
        Money(order.delivery),
    );
    for (place, line) in order.lines.iter().enumerate() {
        put!(
            out,
            "<lines><external_id>line_{}</external_id><product>product-{:05}</product><sku>sku-{:05}</sku>\
             <base_price_per_item>{}</base_price_per_item><min_price_per_item>{}</min_price_per_item>\
             <final_price_per_item>{}</final_price_per_item><count>{}</count></lines>",
            place + 1,
            line.product,
            line.product,
            Money(line.base),
            Money(line.min),
            Money(line.last),
            line.count,
        );
    }
    out.extend_from_slice(b"</data>");
}

/// Cents, as a decimal.
struct Money(u64);

impl Display for Money {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// A moment of 2025.
struct Time([u64; 5]);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [month, day, hour, minute, second] = self.0;
        write!(f, "2025-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl Display for Id {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "A{:09}", self.number)?;
        self.between.map_or(Ok(()), |between| write!(f, "-{between}"))
    }
}
