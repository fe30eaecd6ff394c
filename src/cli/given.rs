//! The arguments and the environment; a setting that is there but empty is refused.

use std::env;
use std::ffi::OsStr;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::Cli;
use crate::config::ConfigError;

/// Parses them, and ends the program where clap does.
pub(super) fn parse() -> Result<Cli, ConfigError> {
    // What clap would say of an empty variable names the flag, and not in all cases.
    let matches = without_empty_variables(Cli::command()).get_matches();
    refuse_empty(&Cli::command(), &matches)?;
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

/// The variable of a setting, if it is set but empty.
fn empty_variable(setting: &Arg) -> Option<&OsStr> {
    setting.get_env().filter(|name| env::var_os(name).is_some_and(|value| value.is_empty()))
}

fn without_empty_variables(command: Command) -> Command {
    let reset = |setting: Arg| if empty_variable(&setting).is_some() { setting.env(None) } else { setting };
    command.mut_args(reset).mut_subcommands(without_empty_variables)
}

/// Refuses empty settings of the command that is run, and of those above it.
fn refuse_empty(command: &Command, matches: &ArgMatches) -> Result<(), ConfigError> {
    for setting in command.get_arguments().filter(|argument| argument.get_env().is_some()) {
        let id = setting.get_id().as_str();
        let flag = setting.get_long().unwrap_or(id);
        let is_flag = matches.value_source(id) == Some(ValueSource::CommandLine);
        if let Some(name) = empty_variable(setting).filter(|_| !is_flag) {
            return Err(ConfigError::empty(name.to_string_lossy().into_owned(), "unset it", id));
        }
        if matches.get_raw(id).is_some_and(|mut values| values.any(OsStr::is_empty)) {
            return Err(ConfigError::empty(format!("--{flag}"), "leave it out", id));
        }
    }
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    command.find_subcommand(name).map_or(Ok(()), |command| refuse_empty(command, matches))
}
