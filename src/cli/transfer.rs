//! `import` and `export`: where the orders go to or come from, and what the program ends with.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::database::{Database, data_dir};
use super::files::{self, ExportArguments, ImportArguments, Target, Where};
use super::output::Output;
use crate::clock::Clock;
use crate::config::{ListMoney, Settings};
use crate::http::App;
use crate::store;

/// What the program ends with when some orders failed.
const SOME_FAILED: u8 = 3;

/// A target, and what is to be closed when it was used.
pub(super) struct Opened {
    target: Target,
    database: Option<(Database, sqlx::PgPool)>,
}

impl Opened {
    pub(super) async fn of(settings: Settings, place: &Where) -> anyhow::Result<Self> {
        let Some(account) = &place.account else {
            let url = place.server.as_deref().unwrap_or_default();
            return Ok(Opened { target: Target::server(url)?, database: None });
        };
        let dir = data_dir(&settings, false);
        if settings.database_url.is_none() && !dir.exists() {
            let (dir, demo) = (dir.display(), data_dir(&settings, true));
            let cure = if demo.exists() { format!(", like {}", demo.display()) } else { String::new() };
            bail!(
                "{dir}: expected what a server keeps there, found nothing; say --data-dir DIR{cure}, or --database-url"
            );
        }
        let database = Database::for_command(&settings).await?;
        let opened = Self::local(settings, account, &database).await;
        match opened {
            Ok((target, pool)) => Ok(Opened { target, database: Some((database, pool)) }),
            Err(error) => {
                database.stop().await?;
                Err(error)
            }
        }
    }

    async fn local(
        mut settings: Settings,
        account: &str,
        database: &Database,
    ) -> anyhow::Result<(Target, sqlx::PgPool)> {
        if database.is_private() {
            store::connect::migrate(&database.options).await?;
        }
        let mut conn = database.connect().await?;
        let account = super::setup::find_named(&mut conn, account).await?;
        let options = &database.options;
        let place = if database.is_private() {
            data_dir(&settings, false).display().to_string()
        } else {
            format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default())
        };
        let name = format!("--account {} of {place}", account.name);
        let pool = store::connect::pool(options.clone(), &settings);
        // What is exported is to be imported.
        settings.list_money = ListMoney::Decimal;
        let app = Box::new(App::new(settings, pool.clone(), Clock::System, false));
        Ok((Target::Local { app, pool: pool.clone(), account_id: account.id, name }, pool))
    }

    /// The target.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Leaves nothing behind.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let Opened { target, database } = self;
        let Some((database, pool)) = database else { return Ok(()) };
        let finished = target.finish().await;
        pool.close().await;
        let stopped = database.stop().await;
        finished.and(stopped)
    }
}

/// Imports files.
pub(super) async fn import(
    settings: Settings,
    output: Output,
    arguments: &ImportArguments,
) -> anyhow::Result<ExitCode> {
    let max_body_bytes = settings.limits.max_body_bytes;
    let code = |all_good| if all_good { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) };
    if arguments.explain {
        return files::explain(arguments, max_body_bytes).map(code);
    }
    let stop = crate::shutdown::on_signal(Duration::ZERO).context("signals")?.now;
    let opened = Opened::of(settings, &arguments.place).await?;
    let done = Box::pin(files::import(&opened.target, arguments, max_body_bytes, output, &stop)).await;
    let closed = opened.close().await;
    let all_good = done?;
    closed?;
    Ok(code(all_good))
}

/// Exports into a file.
pub(super) async fn export(settings: Settings, arguments: &ExportArguments) -> anyhow::Result<()> {
    let (file, _) = files::check_export(arguments)?;
    let interrupted = match file {
        Some(_) => "the export was interrupted, and nothing was written",
        None => "the export was interrupted: what was written is not all of it",
    };
    let stop = crate::shutdown::on_signal(Duration::ZERO).context("signals")?.now;
    let opened = Opened::of(settings, &arguments.place).await?;
    let done = tokio::select! {
        done = Box::pin(files::export(&opened.target, arguments)) => done,
        () = stop.cancelled() => Err(anyhow::anyhow!(interrupted)),
    };
    let closed = opened.close().await;
    let count = done?;
    eprintln!("exported {count} {}", arguments.what.as_str());
    closed
}
