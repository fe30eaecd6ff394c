//! Files of orders, products or SKUs: read into batches and imported, or exported page by page.

mod export;
mod import;
mod progress;
mod read;
mod state;
mod table;
mod target;

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{ArgGroup, Args};

pub(super) use export::export;
pub(super) use import::import;
pub(super) use target::Target;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FileFormat {
    /// A call's body, or a list of orders
    Json,
    /// One JSON object a line
    Ndjson,
    /// A call's body
    Xml,
    /// One row for each line of an order
    Csv,
}

impl FileFormat {
    /// What a file's name says, `.gz` aside.
    fn of(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        Ok(match name.rsplit('.').next() {
            Some("json") => FileFormat::Json,
            Some("ndjson" | "jsonl") => FileFormat::Ndjson,
            Some("xml") => FileFormat::Xml,
            Some("csv") => FileFormat::Csv,
            _ => bail!(
                "{}: expected a name that ends in .json, .ndjson, .jsonl, .xml or .csv; or say --format",
                path.display()
            ),
        })
    }

    /// Refuses what cannot be written like this.
    fn check(self, what: What) -> anyhow::Result<()> {
        if self == FileFormat::Csv && what != What::Orders {
            bail!("format: expected json, ndjson or xml for {}, found csv", what.as_str());
        }
        Ok(())
    }

    /// What goes over the wire for it.
    fn content_type(self) -> &'static str {
        if self == FileFormat::Xml { "application/xml" } else { "application/json" }
    }
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum What {
    /// Orders
    #[default]
    Orders,
    /// Products with their SKUs
    Products,
}

impl What {
    fn as_str(self) -> &'static str {
        match self {
            What::Orders => "orders",
            What::Products => "products",
        }
    }
}

/// Where orders go to or come from.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("where").args(["account", "server"]).required(true)))]
pub(super) struct Where {
    /// The account, straight in the database
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// A server by its URL; its token is taken from `ORDERGATE_TOKEN`
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
}

/// What to import, and how.
#[derive(Debug, Clone, Args)]
pub(super) struct ImportArguments {
    #[command(flatten)]
    pub place: Where,
    /// What the files hold
    #[arg(long, value_enum, default_value_t)]
    what: What,
    /// How the files are written [default: as their names say]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// Most orders in a request
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Fire no events
    #[arg(long)]
    skip_triggers: bool,
    /// Check everything, and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Where failed orders are written to, with their reasons [default: the file's name with .failed.ndjson or .failed.xml]
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
    /// Begin anew, whatever was imported before
    #[arg(long)]
    restart: bool,
    /// The files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What to export, and where to.
#[derive(Debug, Clone, Args)]
pub(super) struct ExportArguments {
    /// What is exported
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    pub place: Where,
    /// How it is written [default: as the file's name says, else ndjson]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// The file [default: standard output]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}
