//! Files of orders, products or SKUs: read into batches and imported, or exported page by page.

mod cell;
mod charset;
mod explain;
mod export;
mod import;
mod json;
mod known;
mod map;
mod markup;
mod order;
mod orders;
mod pack;
mod progress;
mod read;
mod rows;
mod scan;
mod source;
mod state;
mod table;
mod target;
mod value;
mod xml;

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{ArgGroup, Args};
use encoding_rs::Encoding;

use map::Map;
use table::Layout;

pub(super) use explain::explain;
pub(super) use export::{check as check_export, export};
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
            Some("xlsx" | "xls" | "xlsm" | "xlsb" | "ods") => bail!("{}: {SAVE_AS_CSV}", path.display()),
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

    /// What people call it.
    fn name(self) -> &'static str {
        match self {
            FileFormat::Json => "JSON",
            FileFormat::Ndjson => "NDJSON",
            FileFormat::Xml => "XML",
            FileFormat::Csv => "CSV",
        }
    }

    /// What goes over the wire for it.
    fn content_type(self) -> &'static str {
        if self == FileFormat::Xml { "application/xml" } else { "application/json" }
    }
}

/// What is said of a workbook.
const SAVE_AS_CSV: &str = "expected a text file, found a workbook; save it from Excel by File > Save As > \
    \"CSV UTF-8 (Comma delimited)\", and import that";

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
    pub(super) fn as_str(self) -> &'static str {
        match self {
            What::Orders => "orders",
            What::Products => "products",
        }
    }
}

/// Where orders go to or come from.
#[derive(Debug, Clone, Args)]
pub(super) struct Where {
    /// The account, straight in the database
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    pub account: Option<String>,
    /// A server by its URL; its token is taken from `ORDERGATE_TOKEN`
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
}

/// What to import, and how.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("into").args(["account", "server", "explain"]).required(true).multiple(true)))]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(super) struct ImportArguments {
    #[command(flatten)]
    pub place: Where,
    /// Show what is read of the first orders, and send nothing
    #[arg(long)]
    pub explain: bool,
    /// What the files hold
    #[arg(long, value_enum, default_value_t)]
    what: What,
    /// How the files are written [default: as their names say]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// What the files are written in, like windows-1251 [default: as they say, else UTF-8]
    #[arg(long, value_name = "CHARSET")]
    encoding: Option<String>,
    /// CSV: which field each column goes to, as a TOML file says
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// CSV: columns that are left out
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "map")]
    ignore_columns: Vec<String>,
    /// CSV: what separates cells, or tab [default: a comma, a semicolon or a tab, as the first line has it]
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// CSV: read 12,50 and 1.234,50 in columns of amounts and counts as 12.50 and 1234.50
    #[arg(long)]
    decimal_comma: bool,
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

impl ImportArguments {
    fn format(&self, path: &Path) -> anyhow::Result<FileFormat> {
        let format = self.format.map_or_else(|| FileFormat::of(path), Ok)?;
        format.check(self.what)?;
        let of_csv = [("--map", self.map.is_some()), ("--decimal-comma", self.decimal_comma)];
        if let Some((option, _)) = of_csv.into_iter().find(|(_, said)| *said && format != FileFormat::Csv) {
            bail!("{}: expected CSV, to which {option} belongs", path.display());
        }
        Ok(format)
    }

    fn layout(&self) -> anyhow::Result<Layout> {
        let map = self.map.as_deref().map(Map::read).transpose()?;
        let decimal_comma = self.decimal_comma || map.as_ref().is_some_and(|map| map.decimal_comma);
        Ok(Layout { delimiter: self.delimiter, ignored: self.ignore_columns.clone(), decimal_comma, map })
    }

    /// The options that say what a file's items are, each with a blank before it.
    fn how(&self, layout: &Layout) -> String {
        let said = [
            self.format.map(|format| format!(" --format {}", format.name())),
            self.encoding.as_ref().map(|encoding| format!(" --encoding {encoding}")),
            self.delimiter.map(|delimiter| format!(" --delimiter {:?}", char::from(delimiter))),
            self.decimal_comma.then(|| " --decimal-comma".to_owned()),
            (!self.ignore_columns.is_empty()).then(|| format!(" --ignore-columns {}", self.ignore_columns.join(","))),
            layout.map.as_ref().map(|map| format!(" --map {}", map.name())),
        ];
        said.into_iter().flatten().collect()
    }

    fn encoding(&self) -> anyhow::Result<Option<&'static Encoding>> {
        self.encoding.as_deref().map(charset::named).transpose()
    }
}

/// What separates cells.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text == "tab" || text == "\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n ".contains(byte) => Ok(*byte),
        _ => Err("expected one character like ; or tab".to_owned()),
    }
}

/// What to export, and where to.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("from").args(["account", "server"]).required(true)))]
pub(super) struct ExportArguments {
    /// What is exported
    #[arg(value_enum)]
    pub what: What,
    #[command(flatten)]
    pub place: Where,
    /// How it is written [default: as the file's name says, else ndjson]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// Orders with their customers' keys, so that they go into another account; else into the same one only
    #[arg(long)]
    with_customers: bool,
    /// The file [default: standard output]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "file")]
    force: bool,
}
