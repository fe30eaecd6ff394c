//! The directory of the cluster's socket, which lies outside the data directory.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::{Result, if_there, io_error, read_if_there};
use super::host::Account;
use super::{PORT, private_file, random_name};

const SOCKET_DIR: &str = "ordergate-";

/// Makes a directory for the socket and notes its place in the data directory.
///
/// It has a short name, as the path of a socket ends at 107 bytes.
pub(super) fn make_socket_dir(account: &Account, data_dir: &Path) -> Result<PathBuf> {
    // /tmp may be private to a service, where other commands would not find the socket.
    let run = account.ids.is_some() && Path::new("/run").is_dir();
    let base = Path::new(if run { "/run" } else { "/tmp" });
    let socket_dir = base.join(format!("{SOCKET_DIR}{}", random_name()));
    let note = data_dir.join("socket");
    // Noted first, so that no crash leaves a directory that nobody knows of.
    private_file()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&note)
        .and_then(|mut file| file.write_all(socket_dir.as_os_str().as_encoded_bytes()))
        .map_err(io_error("write", &note))?;
    account.make_dir(&socket_dir)?;
    Ok(socket_dir)
}

/// Removes the socket directory noted in the data directory, and the note.
pub(super) fn remove_noted(data_dir: &Path) {
    let note = data_dir.join("socket");
    if let Ok(Some(text)) = read_if_there(&note) {
        remove_socket_dir(Path::new(&text));
        let _ = fs::remove_file(&note);
    }
}

/// Removes a socket directory, with what a killed postmaster left in it and nothing else.
pub(super) fn remove_socket_dir(socket_dir: &Path) {
    let name = socket_dir.file_name().unwrap_or_default();
    if !name.as_encoded_bytes().starts_with(SOCKET_DIR.as_bytes()) {
        return;
    }
    for name in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
        let _ = fs::remove_file(socket_dir.join(name));
    }
    if let Err(error) = if_there(fs::remove_dir(socket_dir)) {
        tracing::warn!(path = %socket_dir.display(), %error, "left a socket directory");
    }
}
