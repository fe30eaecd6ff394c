//! Command line in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    match ordergate::cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ordergate: {}", ordergate::error::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
