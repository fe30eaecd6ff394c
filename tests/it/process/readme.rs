//! The README's `sh` blocks, pasted in their order by a newcomer on a fresh machine: each has to go well, and to print what
//! the README says.
//!
//! A block whose command is `serve` is what another terminal runs: it takes the place of the server before. A `json` or `xml`
//! block directly behind an `sh` block is what that one prints; times and the ids of profiles and
//! requests, which differ, are masked.

use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::program::{DEADLINE, DataDir, POLL};

/// Blocks that are not run, by a piece of them, and why.
const SKIPPED: [(&str, &str); 3] = [
    ("createuser ordergate", "needs a superuser of a PostgreSQL of the machine's, and asks for a password"),
    ("export DATABASE_URL=", "names a server that is an example"),
    ("docker compose", "needs Docker"),
];

/// Addresses of the README, each of which becomes a free one.
const ADDRESSES: [&str; 5] = ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:9000", "127.0.0.1:9464"];

/// What runs the blocks: all in one shell, as in one terminal.
const HEAD: &str = r#"
    set -euo pipefail
    server=
    stop_server() {
        [ -z "$server" ] || { kill "$server" && wait "$server"; }
        server=
    }
    # Starts a server in place of the one before, and waits until it is ready.
    in_another_terminal() {
        stop_server
        : >server.log
        "$@" >>server.log 2>&1 &
        server=$!
        until grep -q 'ordergate is ready' server.log; do
            kill -0 "$server" 2>/dev/null || { cat server.log; return 1; }
            sleep 0.02
        done
    }
    at_the_end() {
        status=$?
        trap - EXIT
        stop_server || true
        for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done
        exit "$status"
    }
    trap at_the_end EXIT
    trap 'exit 124' TERM
"#;

struct Block {
    line: usize,
    language: String,
    text: String,
    /// Nothing stands between the block before and this one, or `The answer:` alone.
    is_close: bool,
}

/// All fenced blocks.
fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = readme.lines().enumerate();
    let mut is_close = false;
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            is_close = is_close && (line.is_empty() || line == "The answer:");
            continue;
        };
        let mut text = String::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| !line.trim_start().starts_with("```")) {
            let _ = writeln!(text, "{line}");
        }
        blocks.push(Block { line: number + 1, language: language.to_owned(), text, is_close });
        is_close = true;
    }
    blocks
}

/// A text without what differs from run to run: times, and the public ids of profiles and of requests.
fn masked(text: &str) -> String {
    let is_time = |text: &str| text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
    let is_hex = |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mask = |piece| match piece {
        time if is_time(time) => "(a time)",
        profile if is_hex(profile, 24) => "(a profile)",
        request if is_hex(request, 16) => "(a request)",
        other => other,
    };
    text.trim().split('"').map(mask).collect::<Vec<_>>().join("\"")
}

/// The machine of a newcomer: the repository's directory, as far as the blocks look at it, and what they may write to.
struct Machine {
    data: DataDir,
    dir: tempfile::TempDir,
    addresses: Vec<String>,
}

impl Machine {
    fn new(python: &str) -> Self {
        let (data, dir) = (DataDir::new(), tempfile::tempdir().expect("a directory"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let release = dir.path().join("target/release");
        fs::create_dir_all(&release).expect("a directory");
        symlink(env!("CARGO_BIN_EXE_ordergate"), release.join("ordergate")).expect("a link");
        symlink(root.join("examples"), dir.path().join("examples")).expect("a link");
        let machine = Machine { data, dir, addresses: free_addresses(ADDRESSES.len()) };
        fs::write(machine.dir.path().join("receiver.py"), machine.here(python)).expect("the receiver");
        machine
    }

    /// A block as it runs here: on free ports, and with its data in directories of the test's own.
    fn here(&self, block: &str) -> String {
        let data = self.data.path().display().to_string();
        let mut text = block.replace("/var/lib/ordergate", &data);
        for (known, free) in ADDRESSES.iter().zip(&self.addresses) {
            text = text.replace(known, free);
            let tuple = |address: &str| address.replacen("127.0.0.1:", "(\"127.0.0.1\", ", 1);
            text = text.replace(&tuple(known), &tuple(free));
        }
        text
    }

    fn printed(&self, block: &Block) -> PathBuf {
        self.dir.path().join(format!("block-{}", block.line))
    }

    /// Runs the blocks; the line of the one that failed is in the file `line`.
    fn run(&self, blocks: &[&Block]) -> bool {
        let mut script = HEAD.to_owned();
        let data = self.data.path().display().to_string();
        // What `script/server` does once it has built everything.
        let _ = writeln!(script, "echo 0 >line\nexec >block-0 2>&1");
        let demo = format!("target/release/ordergate serve --demo --data-dir {data}-demo");
        let _ = writeln!(script, "in_another_terminal {demo}");
        for block in blocks {
            let _ = writeln!(script, "echo {} >line\nexec >block-{0} 2>&1", block.line);
            let text = self.here(&block.text);
            let is_server = text.lines().count() == 1 && text.contains("ordergate serve");
            let _ = writeln!(script, "{}{text}", if is_server { "in_another_terminal " } else { "" });
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", root.join("target/python/bin").display());
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).current_dir(self.dir.path()).env_clear();
        bash.env("PATH", path).env("HOME", self.dir.path()).env("ORDERGATE_DATA_DIR", data);
        // The default, too.
        bash.env("ORDERGATE_LISTEN", &self.addresses[0]);
        // A group of its own: what bash waits for is told to end with it.
        let mut bash = bash.stdin(Stdio::null()).process_group(0).spawn().expect("bash");
        self.guard(&mut bash);
        bash.wait().expect("a child").success()
    }

    /// Waits for the end, and tells all to end when a block does not.
    fn guard(&self, bash: &mut Child) {
        let (mut line, mut begun) = (String::new(), Instant::now());
        while bash.try_wait().expect("a child").is_none() {
            let now = fs::read_to_string(self.dir.path().join("line")).unwrap_or_default();
            if now != line {
                (line, begun) = (now, Instant::now());
            }
            if begun.elapsed() > DEADLINE {
                let _ = Command::new("sh").args(["-c", &format!("kill -s TERM -- -{}", bash.id())]).status();
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Free addresses with ports that no other test is given before they are used: those are ephemeral.
fn free_addresses(count: usize) -> Vec<String> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end: u16 = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    let ports = end / 2..end;
    let start = RandomState::new().hash_one(()) % ports.len() as u64;
    let probed = ports.clone().cycle().skip(usize::try_from(start).expect("a port")).take(ports.len());
    let free = probed.map(|port| format!("127.0.0.1:{port}")).filter(|address| TcpListener::bind(address).is_ok());
    let free: Vec<_> = free.take(count).collect();
    assert_eq!(free.len(), count, "free ports in {ports:?}");
    free
}

fn is_skipped(block: &Block) -> bool {
    SKIPPED.iter().any(|(piece, _)| block.text.contains(piece))
}

/// What blocks printed that is not what the README says, or that is a refusal; and how many answers were compared.
fn wrong_answers(machine: &Machine, all: &[Block]) -> (String, usize) {
    let (mut wrong, mut compared) = (String::new(), 0);
    for (number, block) in all.iter().enumerate().filter(|(_, block)| block.language == "sh") {
        let Ok(found) = fs::read_to_string(machine.printed(block)) else { continue };
        let is_answer = |next: &&Block| next.is_close && ["json", "xml"].contains(&next.language.as_str());
        let answer = all.get(number + 1).filter(is_answer).map(|next| next.text.as_str());
        compared += usize::from(answer.is_some());
        let is_refusal = found.split("\"error\":").skip(1).any(|error| error.starts_with(|c| ('1'..='9').contains(&c)));
        if is_refusal || answer.is_some_and(|answer| masked(&found) != masked(answer)) {
            let expected = answer.unwrap_or("no error\n");
            let _ =
                writeln!(wrong, "README.md, line {}:\n{}expected {expected}found    {found}", block.line, block.text);
        }
    }
    (wrong, compared)
}

/// The block that ran last, which failed, with what there is to say of it.
fn failure(machine: &Machine, all: &[Block]) -> String {
    let read = |name: &str| fs::read_to_string(machine.dir.path().join(name)).unwrap_or_default();
    let line = read("line");
    let line = line.trim();
    let text = all.iter().find(|block| block.line.to_string() == line).map_or("(the demo)\n", |block| &block.text);
    let (printed, log) = (read(&format!("block-{line}")), read("server.log"));
    format!("README.md, line {line}: this block fails:\n{text}it printed:\n{printed}the server's log:\n{log}\n")
}

#[test]
fn the_blocks_of_the_readme_do_what_it_says_in_their_order() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md");
    let all = blocks(&readme);
    let (skipped, run): (Vec<&Block>, _) =
        all.iter().filter(|block| block.language == "sh").partition(|block| is_skipped(block));
    assert_eq!(skipped.len(), SKIPPED.len(), "each reason not to run a block is of one");
    let python = all.iter().find(|block| block.language == "python").expect("a receiver");
    let machine = Machine::new(&python.text);
    let is_good = machine.run(&run);
    let (wrong, compared) = wrong_answers(&machine, &all);
    assert!(is_good && wrong.is_empty(), "{wrong}{}", if is_good { String::new() } else { failure(&machine, &all) });
    assert!(compared > 5, "answers are compared");
}
