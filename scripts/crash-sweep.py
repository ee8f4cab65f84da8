#!/usr/bin/env python3
"""Kills the real program at each file-changing system call of each writing command, or makes each one fail.

Usage: scripts/crash-sweep.py [--errors [--error NAME]] [--call NAME] [--only COMMAND] [--slice N] [--jobs N]
                              [--dir DIR] [PROGRAM]

For every point: a fresh copy of a small store, the command under strace with one fault, then `verify` (which must find
nothing but what the command was to mend), each run and each document outside the store as before or after, the same
command again without a fault (which must finish and come to the same runs and documents as without a fault), `verify`
again. With --errors each call fails once with each of several errors in place
of the kill: the command must succeed or say why, never panic, and both checks and the second run must hold.

--error, --call and --only (which may be repeated) leave one error, system call or command; --slice N tries every N-th point. --dir says where to work (default: /dev/shm, else the folder for temporary
files). PROGRAM is target/debug/strongroom. Prints a table; the exit code is 1 if a point is bad. Needs strace.
"""
import argparse, collections, contextlib, ctypes, hashlib, json, multiprocessing, os, re, shutil, sqlite3, subprocess, sys, tempfile, time

CHANGING = (
    "write writev pwrite64 pwritev fsync fdatasync syncfs sync_file_range rename renameat renameat2 link linkat symlink "
    "symlinkat unlink unlinkat mkdir mkdirat rmdir truncate ftruncate fallocate chmod fchmod fchmodat open openat openat2 "
    "creat ioctl copy_file_range sendfile flock utimensat"
).split()
ERRORS = {
    "fsync": "EIO ENOSPC EDQUOT EINTR", "fdatasync": "EIO ENOSPC EDQUOT EINTR", "syncfs": "EIO ENOSPC",
    "flock": "EINTR ENOLCK", "openat2": "EACCES EMFILE EIO EINTR ENOSPC", "openat": "EACCES EMFILE EIO EINTR ENOSPC",
}
OTHERS = "EIO ENOSPC EDQUOT EACCES EINTR EROFS"
# Calls that a kernel may not have, or a filesystem not offer: refusing these must be got around.
ABSENT = {"openat2": "ENOSYS", "renameat2": "EINVAL", "fallocate": "EOPNOTSUPP", "ioctl": "EOPNOTSUPP"}
PROGRAM = ""
# What takes this many seconds hangs: a machine may be busy, or stop the sweep for a while.
HANGS = 1800
# A pack for documents outside the store: a member gets a value, and the version is written down.
PACK = """
[pack]
name = "notes"
version = "1.0.0"
version_at = "/v"
unlabelled = ["null"]
head = "2"
order = "graph"

[[shape]]
version = "1"
schema = "any.json"

[[shape]]
version = "2"
schema = "any.json"

[[legacy]]
rule = "no-label"
version = "1"
when = [{ absent_or_empty = "/v" }]

[carrier.sqlite]
table = "notes"
key = "id"

[[carrier.sqlite.column]]
name = "v"
declaration = "TEXT DEFAULT '1'"

[[migration]]
from = "1"
to = "2"

[[migration.step]]
op = "default"
path = "/done"
json = "1"
also_null = true
"""


class Command:
    """What is run, on which template, and which exit codes the second run and the check in between may have."""

    def __init__(self, name, template, argv, again=(0,), between=(0,)):
        self.name, self.template, self.argv, self.again, self.between = name, template, argv, again, between


COMMANDS = [
    Command("init", "empty", "init store", again=(0, 1, 5, 6), between=(0, 10)),
    Command("audit key new", "adopted", "--store store audit key new", again=(0, 8)),
    Command("adopt, unsigned", "adopted", "--store store adopt more"),
    Command("migrate, unsigned", "adopted", "--store store migrate"),
    Command("record, unsigned", "adopted", "--store store record --job j --input a=in.json --output out"),
    Command("adopt", "keyed", "--store store adopt more"),
    Command("migrate", "keyed", "--store store migrate"),
    Command("record", "keyed", "--store store record --job j --input a=in.json --output out"),
    Command("record, a command", "keyed", "--store store record --job j --input a=in.json --output out -- ./run.sh", again=(0, 9)),
    Command("rollback", "migrated", "--store store rollback RUN --to FIRST"),
    Command("rollback --operation", "migrated", "--store store rollback --operation OPERATION"),
    Command("restore", "damaged", "--store store restore RUN", between=(0, 3)),
    Command("restore, a whole run", "missing", "--store store restore RUN", between=(0, 3)),
    Command("reindex", "migrated", "--store store reindex"),
    Command("audit checkpoint", "unpublished", "--store store audit checkpoint"),
    Command("audit key rotate", "keyed", "--store store audit key rotate"),
    Command("audit key retire", "rotated", "--store store audit key retire KEY", again=(0, 4, 5, 8)),
    Command("migrate, JSON", "keyed", "--store store migrate --pack pack docs/a.json"),
    Command("migrate, JSON Lines", "keyed", "--store store migrate --pack pack docs/lines.jsonl"),
    Command("migrate, SQLite", "keyed", "--store store migrate --pack pack docs/delete.db"),
    Command("migrate, SQLite WAL", "keyed", "--store store migrate --pack pack docs/wal.db"),
    Command("rollback, JSON", "carried", "--store store rollback --operation JSON"),
    Command("rollback, JSON Lines", "carried", "--store store rollback --operation LINES"),
    Command("rollback, SQLite", "carried", "--store store rollback --operation DELETE"),
    Command("rollback, SQLite WAL", "carried", "--store store rollback --operation WAL"),
    Command("pack install", "keyed", "--store store pack install pack"),
    Command("review", "migrated", "--reason read --store store review --outcome accepted RUN"),
]


def run(argv, cwd, wrap=()):
    env = {"HOME": os.path.join(cwd, "home"), "PATH": os.environ["PATH"], "RAYON_NUM_THREADS": "1"}
    argv = [*wrap, PROGRAM, "--actor", "sweep", *argv]
    return subprocess.run(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=HANGS)


def must(argv, cwd):
    ran = run(argv.split(), cwd)
    if ran.returncode:
        sys.exit(f"{argv}: {ran.returncode}\n{ran.stderr.decode()}")
    return ran.stdout.decode()


def templates(top):
    """The stores that commands start from, and what the commands name. All are made in the one place where they run."""
    at = os.path.join(top, "box/at")
    made = []

    def after(old, new):
        keep()
        if old != made[-1]:
            shutil.rmtree(at)
            shutil.copytree(os.path.join(top, old), at, symlinks=True)
        made.append(new)
        return at

    def keep():
        shutil.copytree(at, os.path.join(top, made[-1]), symlinks=True, dirs_exist_ok=True)

    base = at
    made.append("empty")
    os.makedirs(os.path.join(base, "home"))
    must("demo demo", base)
    shutil.move(os.path.join(base, "demo/old-system/artifacts"), os.path.join(base, "old"))
    shutil.rmtree(os.path.join(base, "demo"))
    # Half of the runs are there already, the rest comes in.
    os.makedirs(os.path.join(base, "more"))
    shutil.move(os.path.join(base, "old/label-002"), os.path.join(base, "more/label-002"))
    for name, text in (("in.json", '{"n": 1}\n'), ("out/a.txt", "a\n"), ("run.sh", "#!/bin/sh\nmkdir -p out\ncat a.json in.json > out/b 2>/dev/null || true\necho b > out/b\n")):
        os.makedirs(os.path.dirname(os.path.join(base, name)), exist_ok=True)
        with open(os.path.join(base, name), "w") as file:
            file.write(text)
    with open(os.path.join(base, "out/large.bin"), "wb") as file:
        file.write(os.urandom(300 << 10))
    os.chmod(os.path.join(base, "run.sh"), 0o755)
    carriers(base)
    at = after("empty", "adopted")
    must("init store", at)
    must("--store store adopt old", at)
    at = after("adopted", "keyed")
    must("--store store audit key new", at)
    at = after("keyed", "migrated")
    must("--store store migrate", at)
    rows = json.loads(must("--store store --json list", at))["runs"]
    place = next(f"{row['job_id']}/{row['run_id']}" for row in rows if row["job_id"].startswith("label-001"))
    history = json.loads(must(f"--store store --json history {place}", at))
    entries = history.get("revisions") or history.get("entries") or history["rows"]
    names = {"RUN": place, "FIRST": entries[0]["after"], "OPERATION": entries[-1]["operation"]}
    at = after("migrated", "damaged")
    run_dir = os.path.join(at, "store/artifacts", place)
    for name in ("manifest.json", "inputs/brief.yaml"):
        os.chmod(os.path.join(run_dir, name), 0o644)
        with open(os.path.join(run_dir, name), "a") as file:
            file.write("edited")
    shutil.rmtree(os.path.join(run_dir, "outputs"))
    at = after("migrated", "missing")
    shutil.rmtree(os.path.join(at, "store/artifacts", place))
    at = after("keyed", "rotated")
    names["KEY"] = json.loads(must("--store store --json audit key list", at))["keys"][0]["id"]
    must("--store store audit key rotate", at)
    at = after("keyed", "carried")
    for word, path in (("JSON", "a.json"), ("LINES", "lines.jsonl"), ("DELETE", "delete.db"), ("WAL", "wal.db")):
        names[word] = re.search(r'"operation": ?"([^"]+)"', must(f"--store store --json migrate --pack pack docs/{path}", at)).group(1)
    at = after("keyed", "unpublished")
    os.rename(os.path.join(at, "home/.config"), os.path.join(at, "home/aside"))
    must("--store store migrate", at)
    os.rename(os.path.join(at, "home/aside"), os.path.join(at, "home/.config"))
    keep()
    shutil.rmtree(at)
    return names


def carriers(base):
    """Documents outside the store, of each kind, and a pack for them."""
    files = {
        "pack/pack.toml": PACK,
        "pack/any.json": '{"type": "object", "properties": {"n": {}, "v": {}, "done": {}, "t": {}, "id": {}}}',
        "docs/a.json": '{\n  "n": 1e3,\n  "t": "a"\n}',
        "docs/lines.jsonl": "".join(f'{{"n": {n}.50}}\r\n' for n in range(400)),
    }
    for name, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(base, name)), exist_ok=True)
        with open(os.path.join(base, name), "w", newline="") as file:
            file.write(text)
    for mode in ("delete", "wal"):
        with contextlib.closing(sqlite3.connect(os.path.join(base, f"docs/{mode}.db"), isolation_level=None)) as db:
            db.execute(f"PRAGMA journal_mode = {mode}")
            db.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, n INTEGER, t TEXT, done REAL)")
            for n in range(40):
                db.execute("INSERT INTO notes (n, t) VALUES (?, ?)", (n, "x" * 100))


READ = {}


def documents(cwd):
    """What each document outside the store holds. The same bytes are read once."""
    digest = hashlib.sha256()
    for name in sorted(os.listdir(os.path.join(cwd, "docs"))):
        with open(os.path.join(cwd, "docs", name), "rb") as file:
            digest.update(b"%d %s\n" % (os.fstat(file.fileno()).st_size, os.fsencode(name)) + file.read())
    if digest.digest() not in READ:
        READ[digest.digest()] = read_documents(cwd)
    return READ[digest.digest()]


def read_documents(cwd):
    """The same, asked of a copy, since whoever opens a database may mend it."""
    held, folder = {}, cwd + "-docs"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(os.path.join(cwd, "docs"), folder)
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.endswith(".db"):
            with contextlib.closing(sqlite3.connect(path)) as db:
                held[name] = list(db.execute("PRAGMA integrity_check")) + list(db.iterdump())
                held[name].append(db.execute("PRAGMA journal_mode").fetchone())
        elif not name.endswith(("-wal", "-shm", "-journal")):
            with open(path, "rb") as file:
                held[name] = file.read()
    return held


def state(cwd):
    """What every run and every document comes to, without times."""
    return runs(cwd), documents(cwd)


def runs(cwd):
    ran = run("--store store --json list".split(), cwd)
    if ran.returncode:
        return [f"list exits {ran.returncode}"]
    rows = json.loads(ran.stdout)["runs"]
    return sorted(json.dumps({k: v for k, v in row.items() if "time" not in k and "at" != k[-2:]}, sort_keys=True) for row in rows)


def between(now, before, after):
    """What is neither as before nor as after. A file of our own making may lie beside a document until the next command."""
    odd = [row for row in now[0] if row not in before[0] and row not in after[0]]
    odd += [row for row in before[0] if row in after[0] and row not in now[0]]
    names = [name for name in {**now[1], **before[1]} if not name.startswith(".tmp-strongroom-")]
    return odd + [name for name in names if now[1].get(name) not in (before[1].get(name), after[1].get(name))]


def points(command, argv, top, errors):
    """Every call that can change a file, as (name, how many of that name it is), from a run without a fault."""
    cwd = copy(command, top)
    before = ([], documents(cwd)) if command.template == "empty" else state(cwd)
    wrap = ["strace", "-qq", "-s", "0", "-o", "../trace", "-e", "trace=" + ",".join("?" + c for c in CHANGING)]
    ran = run(argv, cwd, wrap)
    if ran.returncode != 0:
        sys.exit(f"{command.name} fails without a fault: {ran.stderr.decode()}")
    counts, found = collections.Counter(), []
    with open(os.path.join(os.path.dirname(cwd), "trace")) as trace:
        for line in trace:
            if not (match := re.match(r"(\w+)\(", line)):
                continue  # a signal, or the exit
            call = match.group(1)
            counts[call] += 1
            opens = call.startswith("open") and not re.search("O_CREAT|O_WRONLY|O_RDWR", line)
            reads = errors and call == "openat2"
            if opens and not reads or call == "ioctl" and "FICLONE" not in line:
                continue
            if call != "flock" or errors:
                found.append((call, counts[call]))
    end = state(cwd)
    return found, before, end


def clear(cwd):
    """Leaves nothing there, whatever the modes of its folders."""
    if os.path.exists(cwd):
        shutil.rmtree(cwd, ignore_errors=True)
        if os.path.exists(cwd):
            subprocess.run(["chmod", "-R", "u+rwX", cwd], check=False)
            shutil.rmtree(cwd)


def copy(command, top):
    cwd = os.path.join(top, "box/at")
    clear(cwd)
    subprocess.run(["cp", "-a", "--reflink=auto", os.path.join(top, command.template), cwd], check=True)
    return cwd


@contextlib.contextmanager
def boxes(folder, jobs):
    """A folder for all, and how many may work at once: the log names absolute paths, so every trial lies at `box/at`,
    and each process sees a folder of its own there. Where the kernel does not let it, one works at a time."""
    with tempfile.TemporaryDirectory(dir=folder) as top:
        os.mkdir(os.path.join(top, "box"))
        child = multiprocessing.Process(target=own_box, args=(top,))
        child.start()
        child.join()
        yield top, jobs if child.exitcode == 0 else 1
        clear(os.path.join(top, "box/at"))


def own_box(top):
    """Gives this process a folder of its own at `box`."""
    mine = tempfile.mkdtemp(prefix="box-", dir=top)
    box = os.path.join(top, "box")
    libc = ctypes.CDLL(None, use_errno=True)
    newns, private, bind = 0x20000, 0x44000, 0x1000
    if libc.unshare(newns) or libc.mount(b"none", b"/", None, private, None) or libc.mount(mine.encode(), box.encode(), None, bind, None):
        sys.exit(1)


def attempt(job):
    """One point; gives what is wrong with it, or nothing."""
    command, argv, top, call, count, error, before, end = job
    cwd = copy(command, top)
    try:
        fault = f"{call}:error={error}:when={count}" if error else f"{call}:signal=KILL:when={count}"
        wrap = ["strace", "-qq", "-s", "0", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={fault}"]
        ran = run(argv, cwd, wrap)
        told = (ran.stdout + ran.stderr).decode(errors="replace")
        place = f"{command.name}: {fault}: "
        if "panicked" in told:
            return place + "panicked: " + told
        if error and ran.returncode not in (0, 1, 3, 5, 6, 7, 8, 9, 10, 11):
            return place + f"exit {ran.returncode}: {told}"
        if error and ran.returncode and not told and call != "write":
            return place + f"exit {ran.returncode} without a word"
        if not error and ran.returncode not in (-9, 137):
            return place + f"was not killed (exit {ran.returncode})"
        check = run("--store store verify".split(), cwd)
        if check.returncode not in command.between:
            return place + f"verify exits {check.returncode} in between: {check.stdout.decode()}{check.stderr.decode()}"
        if command.template != "empty" and (odd := between(state(cwd), before, end)):
            return place + f"neither before nor after: {odd}"
        again = run(argv, cwd)
        if again.returncode not in command.again:
            return place + f"run again exits {again.returncode}: {(again.stdout + again.stderr).decode()}"
        if command.name == "audit key new":
            published = run("--store store audit checkpoint".split(), cwd)
            if published.returncode:
                return place + f"no checkpoint with the key afterwards: {published.stderr.decode()}"
        check = run("--store store verify".split(), cwd)
        if check.returncode:
            return place + f"verify exits {check.returncode} at the end: {check.stdout.decode()}{check.stderr.decode()}"
        if command.again == (0,) and (now := state(cwd)) != end:
            return place + f"another end: {now}\nnot {end}"
    except subprocess.TimeoutExpired as error:
        return f"{command.name}: {call} {count}: hangs: {error}"
    return None


def main():
    global PROGRAM
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--errors", action="store_true")
    parser.add_argument("--error")
    parser.add_argument("--call")
    parser.add_argument("--slice", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", action="append")
    parser.add_argument("--dir", default="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    parser.add_argument("program", nargs="?", default="target/debug/strongroom")
    args = parser.parse_args()
    PROGRAM = os.path.abspath(args.program)
    bad, total = [], 0
    print(f"{'command':24}{'points':>8}{'bad':>6}{'per s':>7}")
    with boxes(args.dir, args.jobs) as (top, workers), multiprocessing.Pool(workers, own_box if workers > 1 else None, (top,)) as pool:
        names = templates(top)
        for command in COMMANDS:
            if args.only and command.name not in args.only:
                continue
            argv = [names.get(word, word) for word in command.argv.split()]
            found, before, end = points(command, argv, top, args.errors)
            jobs = []
            for call, count in found:
                if args.call not in (None, call):
                    continue
                words = f"{ERRORS.get(call, OTHERS)} {ABSENT.get(call, '')}".split() if args.errors else [None]
                chosen = [word for word in words if args.error in (None, word)]
                jobs += [(command, argv, top, call, count, error, before, end) for error in chosen]
            jobs, begun = jobs[:: args.slice], time.monotonic()
            wrong = [answer for answer in pool.imap_unordered(attempt, jobs, chunksize=4) if answer]
            print(f"{command.name:24}{len(jobs):8}{len(wrong):6}{len(jobs) / (time.monotonic() - begun):7.1f}", flush=True)
            bad += wrong
            total += len(jobs)
    print(f"{'all':24}{total:8}{len(bad):6}")
    if not total:
        sys.exit("no such point")
    for answer in bad[:20]:
        print("bad:", answer)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
