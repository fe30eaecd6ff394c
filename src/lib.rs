//! ordergate: a self-hosted HTTP server that speaks Altcraft's Market API, on PostgreSQL.
//!
//! The rooms, and who may know whom:
//!
//! ```text
//! domain ← wire  ←─────────── http ← cli
//! domain ← store ← import  ← http
//! domain ← store ←─────────── http      (reads and one-row changes)
//! domain ← store ← delivery ←───── http (the admin API), cli
//! domain ← store ← accounts ←───── http (the admin API), cli, delivery
//! ```
//!
//! `error`, `clock` and `config` are known to all and know nobody else. `auth` knows `domain`; `embedded`
//! knows nobody and is known to `cli` alone; `telemetry` knows `config`, `shutdown` nobody. `wire` and `store` never know each
//! other. `http` alone knows axum, `store` alone holds queries, `cli` starts everything. A test reads the
//! `use` lines and says what breaks this.

pub mod accounts;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod domain;
pub mod embedded;
pub mod error;
pub mod http;
pub mod import;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod wire;
