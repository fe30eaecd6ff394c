//! The measures, in the order of the table.

mod batch;
mod catalogue;
mod delivery;
mod large;
mod list;
mod memory;
mod outbox;
mod rival;
mod scale;
mod single;
mod size;
mod storm;

use crate::render::Format;
use crate::stage::Bench;

/// Takes all measures that were asked for; `large`: so many orders in the large tables.
pub(crate) async fn all(bench: &mut Bench, large: Option<u64>) -> anyhow::Result<()> {
    if let Some(orders) = large {
        large::enough_space(bench, orders)?;
    }
    for format in Format::ALL {
        batch::new(bench, format).await?;
    }
    batch::new_customers(bench).await?;
    for format in Format::ALL {
        batch::unchanged(bench, format).await?;
    }
    for format in Format::ALL {
        batch::changed(bench, format).await?;
    }
    for format in Format::ALL {
        catalogue::imports(bench, format).await?;
    }
    list::pages(bench).await?;
    single::throughput(bench).await?;
    single::latency(bench).await?;
    for format in Format::ALL {
        memory::peak(bench, format).await?;
    }
    storm::kept(bench).await?;
    scale::per_order(bench).await?;
    outbox::cost(bench).await?;
    delivery::drained(bench).await?;
    delivery::beside_imports(bench).await?;
    size::on_disk(bench).await?;
    if !bench.size.tiny {
        rival::against(bench).await?;
    }
    if let Some(orders) = large {
        large::tables(bench, orders).await?;
    }
    Ok(())
}
