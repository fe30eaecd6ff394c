//! Which database a command works on: the one of `DATABASE_URL`, the running private one, or the private one
//! started for the command.

use std::convert::Infallible;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;

use crate::config::Settings;
use crate::embedded::{self, Embedded, Place};
use crate::store;

/// A database that can be connected to.
pub(super) struct Database {
    /// How.
    pub options: PgConnectOptions,
    private: bool,
    own_postgres: OwnPostgres,
}

/// The private PostgreSQL, if this process started it.
#[derive(Default)]
pub(super) struct OwnPostgres(Option<Embedded>);

impl OwnPostgres {
    /// Keeps it up, for ever.
    pub(super) async fn keep_up(&mut self) -> Infallible {
        match &mut self.0 {
            Some(embedded) => embedded.keep_up().await,
            None => std::future::pending().await,
        }
    }

    /// Stops it.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        if let Some(embedded) = self.0 {
            embedded.stop().await?;
        }
        Ok(())
    }
}

/// Where the private PostgreSQL lives; a demo's has a directory of its own.
pub(super) fn data_dir(settings: &Settings, demo: bool) -> PathBuf {
    settings.data_dir.clone().unwrap_or_else(|| {
        let dir = embedded::default_data_dir();
        if demo { dir.with_file_name("ordergate-demo") } else { dir }
    })
}

impl Database {
    /// The database that a server works on; the private one is started, and owned.
    pub(super) async fn for_server(settings: &Settings, demo: bool) -> anyhow::Result<Self> {
        if let Some(url) = &settings.database_url {
            return Ok(Database { options: parse(url)?, private: false, own_postgres: OwnPostgres::default() });
        }
        Database::start(settings, demo).await
    }

    /// The database that a command works on; a running private one is found.
    pub(super) async fn for_command(settings: &Settings) -> anyhow::Result<Self> {
        if let Some(url) = &settings.database_url {
            return Ok(Database { options: parse(url)?, private: false, own_postgres: OwnPostgres::default() });
        }
        match embedded::running(&data_dir(settings, false))? {
            Some(place) => {
                Ok(Database { options: options(&place), private: true, own_postgres: OwnPostgres::default() })
            }
            None => Database::start(settings, false).await,
        }
    }

    async fn start(settings: &Settings, demo: bool) -> anyhow::Result<Self> {
        let dir = data_dir(settings, demo);
        if settings.data_dir.is_none() && dir.is_relative() {
            bail!("data-dir: expected a home directory to put it into, found none: say --data-dir DIR");
        }
        // Some for psql and for commands, beside the server's own.
        let max_connections = (settings.max_connections + 10).to_string();
        let embedded = Embedded::start(&dir, &[("max_connections", &max_connections)]).await?;
        Ok(Database { options: options(embedded.place()), private: true, own_postgres: OwnPostgres(Some(embedded)) })
    }

    /// True for the private one.
    pub(super) fn is_private(&self) -> bool {
        self.private
    }

    /// One connection; the schema has to be this program's.
    pub(super) async fn connect(&self) -> anyhow::Result<PgConnection> {
        let mut conn = store::connect::open(&self.options).await?;
        store::connect::check_version(&mut conn).await?;
        Ok(conn)
    }

    /// What was started, to be kept up and stopped.
    pub(super) fn take_own_postgres(&mut self) -> OwnPostgres {
        std::mem::take(&mut self.own_postgres)
    }

    /// Stops what was started.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.own_postgres.stop().await
    }
}

fn parse(url: &str) -> anyhow::Result<PgConnectOptions> {
    // The parser's own message may repeat the password.
    url.parse()
        .ok()
        .context("database-url: expected a URL like postgres://user:password@host:5432/database?sslmode=MODE, with a MODE that libpq names: disable, allow, prefer, require, verify-ca, verify-full")
}

fn options(place: &Place) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(&place.socket_dir)
        .port(place.port)
        .username(embedded::USER)
        .database(embedded::DATABASE)
}
