//! The commands for the ledger of events.

use anyhow::Context as _;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::output::Output;
use super::setup::find;
use super::{EventsCommand, Selected};
use crate::delivery::ledger::{self, Asked, COLUMNS, Entry, Selection};
use crate::delivery::replay::replay;
use crate::domain::scalars;

pub(super) async fn run(conn: &mut PgConnection, output: Output, command: EventsCommand) -> anyhow::Result<()> {
    match command {
        EventsCommand::List { of, selected, states, limit } => {
            let account = find(conn, &of).await?;
            let which = ledger::which(conn, account.id, selection(&selected, None)?).await?;
            let asked = Asked { which, states, limit: limit as usize };
            lines(output, &ledger::list(conn, account.id, &asked).await?)
        }
        EventsCommand::Show { of, event } => {
            let account = find(conn, &of).await?;
            lines(output, &ledger::show(conn, account.id, &event).await?)
        }
        EventsCommand::Replay { of, event, selected, delivered } => {
            let account = find(conn, &of).await?;
            let which = ledger::which(conn, account.id, selection(&selected, event.as_deref())?).await?;
            let replayed = replay(conn, account.id, &which, delivered, "--delivered").await?;
            let mut object = json!({"deliveries": replayed.deliveries});
            if let Some(reason) = &replayed.reason {
                object["reason"] = json!(reason);
            }
            output.done(&replayed.sentence(), &object)
        }
    }
}

fn lines(output: Output, entries: &[Entry]) -> anyhow::Result<()> {
    output.rows(&COLUMNS, &entries.iter().map(Entry::row).collect::<Vec<_>>())
}

fn selection<'s>(selected: &'s Selected, event: Option<&'s str>) -> anyhow::Result<Selection<'s>> {
    let Selected { order, subscription, from, to } = selected;
    let (from, to) = (time("from", from.as_deref())?, time("to", to.as_deref())?);
    Ok(Selection { order: order.as_deref(), event, subscription_id: *subscription, from, to })
}

fn time(name: &str, text: Option<&str>) -> anyhow::Result<Option<OffsetDateTime>> {
    let parse = |text: &str| {
        scalars::time(text)
            .with_context(|| format!("{name}: expected a time like 2030-01-31T12:00:00Z, found {text:?}"))
    };
    text.map(parse).transpose()
}
