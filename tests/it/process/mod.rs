//! The real program: the command line, the private cluster, signals.

mod broker;
mod cluster;
mod crash;
mod database;
mod deliver;
mod demo;
mod files;
mod lines;
mod log;
#[cfg(target_os = "linux")]
mod memory;
mod metrics;
mod orders;
mod program;
mod readme;
mod settings;
mod setup;
mod stop;
mod upkeep;
mod webhooks;
