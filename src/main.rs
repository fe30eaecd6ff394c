//! Command line in, exit code out.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Gives memory back to the system after a storm of large requests, by threads of its own; glibc's keeps most of it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match ordergate::cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ordergate: {}", ordergate::error::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
