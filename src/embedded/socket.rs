//! The directory of the cluster's socket, which lies outside the data directory.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::{Result, if_there, io_error, read_if_there};
use super::host::Account;
use super::{PORT, random_name};

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
    if_there(fs::remove_file(&note)).map_err(io_error("remove", &note))?;
    account
        .open_file(&note)
        .and_then(|mut file| file.write_all(socket_dir.as_os_str().as_encoded_bytes()))
        .map_err(io_error("write", &note))?;
    account.make_dir(&socket_dir)?;
    Ok(socket_dir)
}

/// Makes the socket directory of a postmaster that ended fit for the next one.
pub(super) fn renew_socket_dir(account: &Account, socket_dir: &Path) -> Result<()> {
    remove_sockets(socket_dir);
    match if_there(fs::symlink_metadata(socket_dir)).map_err(io_error("look at", socket_dir))? {
        None => account.make_dir(socket_dir),
        Some(found) if account.has_for_itself(&found) => Ok(()),
        // Whoever took the name of one that was removed could listen there in our place.
        Some(_) => Err(io_error("use", socket_dir)(io::Error::other("it is another user's, or open to others"))),
    }
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
    remove_sockets(socket_dir);
    if let Err(error) = if_there(fs::remove_dir(socket_dir)) {
        tracing::warn!(path = %socket_dir.display(), %error, "left a socket directory");
    }
}

fn remove_sockets(socket_dir: &Path) {
    for name in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
        let _ = fs::remove_file(socket_dir.join(name));
    }
}
