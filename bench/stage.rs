//! A server and two databases with the same content: what one measure plays on.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use sqlx::PgConnection;

use crate::client::{Client, Request};
use crate::cluster::Cluster;
use crate::data::{Customers, Ids, Shop};
use crate::floor::{Floor, Rows};
use crate::render::Format;
use crate::report::Report;
use crate::server::{self, Outcome, Server};
use crate::sql;

/// The place of the first order of a measure: above all that the databases have before.
const FIRST: u64 = 500_000_000;
/// The database that the others are copied from.
pub(crate) const SEED: &str = "seed";
pub(crate) const OURS: &str = "ours";
pub(crate) const FLOOR: &str = "floor";

/// With the account, the primary key finds it.
const LAST_ID: &str = "select max(id) from orders where account_id = 1";

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) tiny: bool,
    pub(crate) customers: u64,
    pub(crate) products: u64,
    /// Orders of a request.
    pub(crate) batch: usize,
    /// Orders of a large request.
    pub(crate) large_batch: usize,
    /// Orders of a long list.
    pub(crate) listed: u64,
    pub(crate) rounds: usize,
    /// How long single orders are sent.
    pub(crate) seconds: u64,
}

/// What all measures share.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) program: PathBuf,
    pub(crate) size: Size,
    pub(crate) only: Option<String>,
    pub(crate) report: Report,
}

impl Bench {
    /// Fills the database that the others are copied from: the account, its customers and its products.
    pub(crate) async fn seed(&self) -> anyhow::Result<()> {
        sql::run(&mut self.cluster.connect("postgres").await?, &format!("create database {SEED}")).await?;
        let url = self.cluster.url(SEED);
        server::set_up(&self.program, &url)?;
        let server = Server::start(&self.program, &url, self.log(), &[]).await?;
        Client::connect(server.address).await?.import(&self.first_orders()).await?;
        server.stop()?;
        self.cluster.settle(&mut [&mut self.cluster.connect(SEED).await?]).await
    }

    /// One order of each customer, with all products.
    pub(crate) fn first_orders(&self) -> Request {
        let shop = self.shop();
        Request::new(Format::Json, false, (0..self.size.customers).map(|place| shop.first_order(place)))
    }

    pub(crate) fn shop(&self) -> Shop {
        let customers = Customers::Known(self.size.customers);
        Shop { customers, products: self.size.products, ids: Ids::Ascending }
    }

    /// Whether a measure was not asked for.
    pub(crate) fn skips(&self, name: &str) -> bool {
        self.only.as_ref().is_some_and(|only| !name.contains(only))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.cluster.path().join("server.log")
    }

    /// A stage on fresh databases; the server gets some flags more.
    pub(crate) async fn stage(&self, flags: &[String]) -> anyhow::Result<Stage> {
        self.cluster.copy_database(SEED, OURS).await?;
        self.cluster.copy_database(SEED, FLOOR).await?;
        self.stage_as_it_is(flags).await
    }

    /// A stage on the databases that are there.
    pub(crate) async fn stage_as_it_is(&self, flags: &[String]) -> anyhow::Result<Stage> {
        let server = Server::start(&self.program, &self.cluster.url(OURS), self.log(), flags).await?;
        let client = Client::connect(server.address).await?;
        let mut ours = self.cluster.connect(OURS).await?;
        let floor = Floor::new(self.cluster.connect(FLOOR).await?).await?;
        let last_id = sql::one(&mut ours, LAST_ID).await?;
        let mut stage = Stage { server, client, requests: 0, ours, floor, next: FIRST, last_id };
        self.settle(&mut stage).await?;
        Ok(stage)
    }

    /// Leaves nothing to do in the background. Tiny measures are not judged, and this would take most of their time.
    pub(crate) async fn settle(&self, stage: &mut Stage) -> anyhow::Result<()> {
        if self.size.tiny {
            return Ok(());
        }
        self.cluster.settle(&mut [&mut stage.ours, stage.floor.conn()]).await
    }
}

/// A server and two databases.
pub(crate) struct Stage {
    pub(crate) server: Server,
    client: Client,
    /// How many the server has answered.
    requests: usize,
    pub(crate) ours: PgConnection,
    pub(crate) floor: Floor,
    next: u64,
    /// Of the newest order that the floor knows of.
    last_id: i64,
}

impl Stage {
    /// Places for so many new orders.
    pub(crate) fn places(&mut self, count: usize) -> Range<u64> {
        let first = self.next;
        self.next += count as u64;
        first..self.next
    }

    /// Imports new orders.
    pub(crate) async fn import_new(&mut self, request: &Request) -> anyhow::Result<Duration> {
        self.import(request, Outcome { created: request.orders as u64, updated: 0, unchanged: 0 }).await
    }

    /// Imports orders and checks what became of them.
    pub(crate) async fn import(&mut self, request: &Request, expected: Outcome) -> anyhow::Result<Duration> {
        let took = self.client.import(request).await?;
        self.requests += 1;
        let outcome = self.server.outcome(self.requests).await?;
        ensure!(outcome == expected, "expected {expected:?}, found {outcome:?}");
        Ok(took)
    }

    /// The rows of the orders that the server has made since the last call.
    pub(crate) async fn written(&mut self) -> anyhow::Result<Rows> {
        let rows = self.floor.read(&mut self.ours, self.last_id).await?;
        self.last_id = sql::one(&mut self.ours, LAST_ID).await?;
        Ok(rows)
    }
}

/// So many orders of a shop as a request.
pub(crate) fn request(format: Format, shop: Shop, places: Range<u64>) -> Request {
    Request::new(format, false, places.map(|place| shop.order(place)))
}
