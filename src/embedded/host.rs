//! What the machine gives: the user Postgres runs as, and the programs that are installed.
//!
//! What never enters here: the state of a cluster.

use std::cmp::Reverse;
use std::env;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::{EmbeddedError, Result, if_there, io_error, read_if_there};

pub(super) const OLDEST_MAJOR: u32 = 15;

pub(super) const SHELL: &str = "/bin/sh";

/// What a directory must hold to count as an installed Postgres.
const PROGRAMS: [&str; 4] = ["postgres", "initdb", "pg_ctl", "pg_isready"];

/// The user Postgres runs as, for it refuses to run as root.
#[derive(Debug)]
pub(super) struct Account {
    name: String,
    /// The user and the group that root becomes for each program; `None` if we are not root.
    pub(super) ids: Option<(u32, u32)>,
}

impl Account {
    /// The user for a data directory: ourselves, or as root the owner of what is there.
    pub(super) fn of(data_dir: &Path) -> Result<Self> {
        let look = |path: &Path| if_there(fs::metadata(path)).map_err(io_error("look at", path));
        let cluster = data_dir.join("pg");
        let owner = look(&cluster)?;
        let me = id(&["-u"])?;
        let is_root = me == "0";
        if let Some(owner) = &owner
            && (owner.uid() == 0 || !is_root && me != owner.uid().to_string())
        {
            return Err(EmbeddedError::WrongOwner {
                cluster,
                owner: user_name(&owner.uid().to_string()),
                expected: user_name(if is_root { "postgres" } else { &me }),
            });
        }
        if !is_root {
            let name = user_name(&me);
            return Ok(Self { name, ids: None });
        }
        if let Some(owner) = owner.or(look(data_dir)?.filter(|owner| owner.uid() != 0)) {
            let user = owner.uid().to_string();
            // The group of a directory may be root's; a user without an entry has no other.
            let gid = id_number("-g", &user).unwrap_or(owner.gid());
            let ids = Some((owner.uid(), gid));
            let name = user_name(&user);
            return Ok(Self { name, ids });
        }
        for name in ["postgres", "_postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id_number("-u", name), id_number("-g", name)) {
                let ids = Some((uid, gid));
                return Ok(Self { name: name.into(), ids });
            }
        }
        let source = io::Error::other("no user postgres or nobody exists on this machine");
        Err(EmbeddedError::Run { program: "postgres".into(), user: "postgres".into(), source })
    }

    /// A program run as this user, out of the reach of a Ctrl-C at our terminal.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = plain_command(program);
        command.process_group(0);
        if let Some((uid, gid)) = self.ids {
            command.uid(uid).gid(gid);
        }
        command
    }

    pub(super) fn run_error(&self, program: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
        let (program, user) = (program.to_owned(), self.name.clone());
        move |source| EmbeddedError::Run { program, user, source }
    }

    /// Whether the user can enter a directory; tried out, as modes do not tell all (ACLs).
    fn can_enter(&self, directory: &Path) -> Result<bool> {
        let shell = Path::new(SHELL);
        match self.command(shell).args(["-c", ":"]).current_dir(directory).status() {
            Ok(_) => Ok(true),
            // Nobody is kept out of the root: there it is the change of user that failed.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && directory != Path::new("/") => Ok(false),
            Err(error) => Err(self.run_error(shell)(error)),
        }
    }

    /// Refuses a data directory below one that the user cannot enter, before anything is made.
    pub(super) fn check_way_to(&self, data_dir: &Path) -> Result<()> {
        if self.ids.is_none() {
            return Ok(());
        }
        let mut paths = data_dir.ancestors();
        let nearest = paths.find(|path| path.exists()).unwrap_or(Path::new("/"));
        let real = nearest.canonicalize().map_err(io_error("resolve", nearest))?;
        // The data directory itself is opened to the user later on.
        let own = usize::from(nearest == data_dir);
        let mut way: Vec<_> = real.ancestors().skip(own).collect();
        way.reverse();
        for directory in way {
            if !self.can_enter(directory)? {
                return Err(self.unreachable(directory, data_dir));
            }
        }
        Ok(())
    }

    fn unreachable(&self, directory: &Path, data_dir: &Path) -> EmbeddedError {
        EmbeddedError::Unreachable {
            user: self.name.clone(),
            directory: directory.to_owned(),
            data_dir: data_dir.to_owned(),
        }
    }

    /// Makes the data directory where it is missing, and returns its one true path.
    ///
    /// Made by root it stays root's, and the user may only pass through: who owns a directory
    /// can put a link in it for root to follow.
    pub(super) fn make_data_dir(&self, data_dir: &Path) -> Result<PathBuf> {
        let missing: Vec<_> = data_dir.ancestors().take_while(|path| !path.exists()).collect();
        for &directory in missing.iter().rev() {
            let mode = if directory == data_dir { 0o700 } else { 0o755 };
            match DirBuilder::new().mode(mode).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(io_error("make the directory", directory)(error));
                }
                _ if self.ids.is_some() => {
                    // Root's umask may have closed it to the user.
                    fs::set_permissions(directory, Permissions::from_mode(mode))
                        .map_err(io_error("open to others", directory))?;
                }
                _ => {}
            }
        }
        let real = data_dir.canonicalize().map_err(io_error("resolve", data_dir))?;
        if let Some((_, gid)) = self.ids
            && !self.can_enter(&real)?
        {
            let found = fs::metadata(&real).map_err(io_error("look at", &real))?;
            if found.uid() == 0 {
                let mode = Permissions::from_mode(found.mode() & 0o700 | 0o010);
                chown(&real, None, Some(gid))
                    .and_then(|()| fs::set_permissions(&real, mode))
                    .map_err(io_error("open to the user of PostgreSQL", &real))?;
            }
            if !self.can_enter(&real)? {
                return Err(self.unreachable(&real, data_dir));
            }
        }
        Ok(real)
    }

    /// Makes a directory that must not exist, for this user alone.
    pub(super) fn make_dir(&self, path: &Path) -> Result<()> {
        DirBuilder::new().mode(0o700).create(path).map_err(io_error("make the directory", path))?;
        if let Some((uid, gid)) = self.ids {
            chown(path, Some(uid), Some(gid)).map_err(io_error("hand over", path))?;
        }
        Ok(())
    }

    /// Opens a file of the data directory to read and to append, closed to other users. One that is
    /// not there is made, for the owner of the directory, whose own server may be the next to open it.
    pub(super) fn open_file(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(0o600);
        if self.ids.is_some() {
            // Who owns the directory could lead root astray.
            options.custom_flags(libc::O_NOFOLLOW);
        }
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(io::Error::other("expected a file, found a link"));
            }
            opened => return opened,
        }
        let file = options.create_new(true).open(path)?;
        if self.ids.is_some() {
            let owner = fs::metadata(path.parent().unwrap_or(path))?;
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(file)
    }

    /// Whether a directory is the one user's, and closed to others.
    pub(super) fn has_for_itself(&self, found: &Metadata) -> bool {
        let is_own = match self.ids {
            Some((uid, _)) => found.uid() == uid,
            None => id(&["-u"]).is_ok_and(|me| me == found.uid().to_string()),
        };
        found.is_dir() && is_own && found.mode() & 0o777 == 0o700
    }
}

/// The directory with the programs that made a cluster, or the newest ones for a new cluster.
pub(super) fn find_programs(account: &Account, cluster: &Path) -> Result<PathBuf> {
    let wanted = major_of(cluster)?;
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for directory in program_dirs() {
        // Debian and Homebrew link single programs to where all of them are.
        let Ok(postgres) = directory.join("postgres").canonicalize() else {
            continue;
        };
        let Some(bin) = postgres.parent().map(Path::to_owned) else {
            continue;
        };
        let known = found.iter().any(|(_, other)| *other == bin);
        if !known
            && PROGRAMS.iter().all(|name| bin.join(name).is_file())
            && let Some(major) = version_of(account, &postgres)
        {
            found.push((major, bin));
        }
    }
    let fits = |major: u32| wanted.map_or(major >= OLDEST_MAJOR, |wanted| wanted == major);
    // Of equals the first, so that PATH goes before the usual places.
    let best = found.iter().filter(|(major, _)| fits(*major)).min_by_key(|(major, _)| Reverse(major));
    if let Some((_, bin)) = best {
        return Ok(bin.clone());
    }
    let list: Vec<_> = found.iter().map(|(major, bin)| format!("{major} in {}", bin.display())).collect();
    let found = if list.is_empty() { "none".into() } else { list.join(", ") };
    Err(match wanted {
        None => EmbeddedError::NotInstalled { found },
        Some(wanted) => EmbeddedError::OtherVersion { cluster: cluster.to_owned(), wanted, found },
    })
}

/// Where Postgres's programs may be, the most telling places first.
fn program_dirs() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    if let Ok(output) = plain_command(Path::new("pg_config")).arg("--bindir").output() {
        dirs.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    let families = [
        ("/usr/lib/postgresql", ""),                          // Debian, Ubuntu
        ("/usr", "pgsql-"),                                   // Red Hat, from postgresql.org
        ("/usr/lib", "postgresql"),                           // SUSE
        ("/opt/homebrew/opt", "postgresql"),                  // Homebrew on Apple silicon
        ("/usr/local/opt", "postgresql"),                     // Homebrew on Intel
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql"),     // Homebrew on Linux
        ("/Applications/Postgres.app/Contents/Versions", ""), // Postgres.app
        ("/Library/PostgreSQL", ""),                          // EDB's installer
    ];
    for (parent, prefix) in families {
        let members = fs::read_dir(parent).into_iter().flatten().flatten();
        let members = members.filter(|member| member.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()));
        dirs.extend(members.map(|member| member.path().join("bin")));
    }
    let single = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/usr/local/pgsql/bin"];
    dirs.extend(single.map(PathBuf::from));
    dirs
}

/// The major version of a `postgres` the user can run; `None` also for betas ("19beta1"), whose
/// clusters the release cannot read.
fn version_of(account: &Account, postgres: &Path) -> Option<u32> {
    let output = account.command(postgres).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, _) = text.strip_prefix("postgres (PostgreSQL) ")?.split_once('.')?;
    major.parse().ok()
}

/// The major version that made a cluster; `None` if there is no cluster.
pub(super) fn major_of(cluster: &Path) -> Result<Option<u32>> {
    let path = cluster.join("PG_VERSION");
    let Some(text) = read_if_there(&path)? else {
        return Ok(None);
    };
    let bad = |_| io::Error::other(format!("expected a major version, found {text:?}"));
    text.trim().parse().map(Some).map_err(bad).map_err(io_error("read", &path))
}

/// What `id` prints: the one way to ask for users that is the same on Linux and macOS and knows
/// those that are not in `/etc/passwd`.
pub(super) fn id(arguments: &[&str]) -> Result<String> {
    let program = Path::new("id");
    let output = plain_command(program).args(arguments).output();
    let output = output.map_err(io_error("run", program))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io_error("use", program)(io::Error::other(text)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn id_number(option: &str, user: &str) -> Option<u32> {
    id(&[option, user]).ok()?.parse().ok()
}

/// The name of a user given by number; the number if it has none.
fn user_name(user: &str) -> String {
    id(&["-un", user]).unwrap_or_else(|_| user.to_owned())
}

/// A program without our secrets in its environment, in a directory that every user can enter.
pub(super) fn plain_command(program: &Path) -> Command {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/bin:/bin");
    let kept = ["TZ", "LD_LIBRARY_PATH"];
    let kept = kept.into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
    let mut command = Command::new(program);
    command.env_clear().envs(kept).env("PATH", path).env("LC_ALL", "C");
    command.current_dir("/").stdin(Stdio::null());
    command
}
