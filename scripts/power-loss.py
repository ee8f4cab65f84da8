#!/usr/bin/env python3
"""Searches the states that a power loss could leave after each system call of each writing command.

Usage: scripts/power-loss.py [--failed] [--mutants] [--only COMMAND] [--skip COMMAND] [--slice N] [--states N] [--random N]
                             [--seconds N] [--jobs N] [--dir DIR] [PROGRAM]

Each command runs once under strace. From its calls this program computes what a disk may hold if the power goes after any
of them, under two readings of what the kernel promises:

  strict   POSIX: of what was not flushed, any part may be there. Each name in a folder that was not fsynced since, each
           write to a file that was not fsynced since, alone; writes torn, or long enough and full of zeros.
  ordered  ext4 and XFS: names change in the order of the calls, and an fsync brings along all that came before the last
           change of its file or folder; the bytes of files that were not flushed as under strict.

Each distinct state is laid out and must be such that `verify` finds nothing but what the command was to mend, the same
command run again finishes and comes to the same runs, `verify` is clean, and what was in the log before, or was
acknowledged by an exit, is in the log still.

--failed: each fsync in turn fails, and what it was to flush may be lost for good, though a later fsync says yes.
--mutants: each flush in turn is taken out of the calls; the search must then find a bad state. Those that it does not
miss are listed. --slice N takes every N-th state, --states N about N of each command, spread over all of its calls;
--random N adds states by chance per crash point with many choices. After --seconds N no further state is begun.
Prints a table; the exit code is 1 if a state is bad. Needs strace.
"""
import argparse, array, collections, hashlib, importlib.util, itertools, json, multiprocessing, os, random, re, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("crash_sweep", os.path.join(HERE, "crash-sweep.py"))
sweep = importlib.util.module_from_spec(spec)
sys.modules["crash_sweep"] = sweep
spec.loader.exec_module(sweep)

CALLS = (
    "open openat openat2 creat read write writev pwrite64 lseek truncate ftruncate fsync fdatasync syncfs rename renameat "
    "renameat2 link linkat unlink unlinkat mkdir mkdirat rmdir close dup dup2 dup3 fcntl chmod fchmod fchmodat fchmodat2 "
    "copy_file_range sendfile symlink symlinkat ioctl fallocate chdir fchdir clone clone3 fork vfork execve"
).split()
FLUSHES = ("fsync", "fdatasync", "syncfs")
CLONES = ("clone", "clone3", "fork", "vfork")


def calls(trace):
    """The calls that succeeded, and the flushes that failed, as (process, name, arguments, result); in order of their ends.
    A process may call before the end of the call that made it: its first line brings that call forward."""
    begun, seen = {}, set()
    for line in trace:
        pid, _, rest = line.rstrip("\n").partition(" ")
        rest = rest.strip()
        if pid not in seen:
            seen.add(pid)
            parents = [(parent, text) for parent, text in begun.items() if text.startswith(tuple(name + "(" for name in CLONES))]
            if parents:
                parent, text = parents[0]
                yield parent, "clone", text, int(pid)
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest[: -len("<unfinished ...>")].rstrip()
            continue
        if match := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
            rest = begun.pop(pid) + match.group(1)
        if match := re.match(r"(\w+)\((.*)\)\s+= (-?\d+)", rest):
            name, args, result = match.group(1), match.group(2), int(match.group(3))
            if result >= 0 or name in FLUSHES:
                if name not in CLONES:
                    yield pid, name, args, result
                elif str(result) not in seen:
                    seen.add(str(result))
                    yield pid, "clone", args, result


def texts(args):
    return [bytes.fromhex(text.replace("\\x", "")) for text in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', args)]


class Unit:
    """A change that a crash may lose: names of one folder, or bytes of one file."""

    def __init__(self, seq, owner, names=None, write=None, touches=()):
        self.seq, self.owner, self.names, self.write, self.touches = seq, owner, names, write, touches


class Process:
    """What a process has open, what of it an exec closes, and where it is."""

    def __init__(self, fds, closing, cwd):
        self.fds, self.closing, self.cwd = fds, closing, cwd


class Disk:
    """What the calls do to the files below one folder."""

    def __init__(self, top):
        self.top, self.files, self.folders, self.modes = top, {}, {}, {}
        self.units, self.flushes, self.seq = [], [], 0
        self.root = self.load(top)
        self.processes, self.at = {}, None
        self.base = {ino: dict(names) for ino, names in self.folders.items()}
        self.sizes = {}

    def load(self, path):
        ino = len(self.modes)
        self.modes[ino] = os.lstat(path).st_mode & 0o7777
        if os.path.isdir(path):
            self.folders[ino] = {}
            for name in sorted(os.listdir(path)):
                self.folders[ino][os.fsencode(name)] = self.load(os.path.join(path, name))
        else:
            with open(path, "rb") as file:
                self.files[ino] = file.read()
        return ino

    def find(self, args, which=0, at=None):
        """Folder, name and file of a path argument; nothing for one outside."""
        path = texts(args)[which]
        if path.startswith(b"/"):
            top = os.fsencode(self.top)
            if path != top and not path.startswith(top + b"/"):
                return None
            here, path = self.root, path[len(top) + 1 :]
        elif at is None or at == "AT_FDCWD":
            here = self.at.cwd
        else:
            if int(at) not in self.at.fds:
                return None
            here = self.at.fds[int(at)][0]
        folder, name = None, b"."
        for part in [part for part in path.split(b"/") if part not in (b"", b".")]:
            if here is None or here not in self.folders:
                return None
            folder, name, here = here, part, self.folders[here].get(part)
        return folder, name, here

    def new(self, folder, kind, mode):
        ino = len(self.modes)
        self.modes[ino] = mode & ~0o022
        if kind == "folder":
            self.folders[ino], self.base[ino] = {}, {}
        else:
            self.files[ino] = b""
        return ino

    def rename(self, changes, touches=()):
        """Sets names in folders; those of one folder stand or fall together."""
        for folder, names in changes.items():
            inodes = {ino for ino in [*names.values(), *(self.folders[folder].get(name) for name in names)] if ino is not None}
            self.units.append(Unit(self.seq, folder, names=names, touches={folder, *inodes, *touches}))
            for name, ino in names.items():
                if ino is None:
                    self.folders[folder].pop(name, None)
                else:
                    self.folders[folder][name] = ino

    def size(self, ino):
        return self.sizes.get(ino, len(self.files.get(ino, b"")))

    def put(self, ino, offset, data):
        self.units.append(Unit(self.seq, ino, write=(offset, data)))
        self.sizes[ino] = max(self.size(ino), offset + len(data))

    def cut(self, ino, length):
        self.units.append(Unit(self.seq, ino, write=(length, None)))
        self.sizes[ino] = length

    def opened(self, place, flags, mode, result):
        self.at.closing.discard(result)
        if "O_CLOEXEC" in flags:
            self.at.closing.add(result)
        if place is None:
            self.at.fds.pop(result, None)
            return
        folder, name, ino = place
        if ino is None:
            ino = self.new(folder, "file", mode)
            self.rename({folder: {name: ino}})
        elif "O_TRUNC" in flags and self.size(ino):
            self.cut(ino, 0)
        self.at.fds[result] = [ino, 0, "O_APPEND" in flags]

    def does(self, pid, name, args, result):
        self.seq += 1
        self.at = self.processes.setdefault(pid, Process({}, set(), self.root))
        fds = self.at.fds
        parts = [part.strip() for part in args.split(",")]
        fd = fds.get(int(parts[0])) if parts[0].isdigit() else None
        mode = int(match.group(1), 8) if (match := re.search(r"\b(0[0-7]{3,4})\b", re.sub(r'"[^"]*"', "", args))) else 0o666
        if name in ("open", "creat"):
            self.opened(self.find(args), args + ("O_TRUNC" if name == "creat" else ""), mode, result)
        elif name in ("openat", "openat2"):
            self.opened(self.find(args, 0, parts[0]), args, mode, result)
        elif name == "clone":
            share = "CLONE_FILES" in args
            self.processes[str(result)] = self.at if share else Process(dict(fds), set(self.at.closing), self.at.cwd)
        elif name == "execve":
            for number in self.at.closing:
                fds.pop(number, None)
            self.at.closing.clear()
        elif name == "chdir":
            place = self.find(args)
            self.at.cwd = place and place[2]
        elif name == "fchdir":
            self.at.cwd = fd and fd[0]
        elif name == "close":
            fds.pop(int(parts[0]), None)
        elif name in ("dup", "dup2", "dup3") or (name == "fcntl" and "F_DUPFD" in args):
            if int(parts[0]) != result:
                fds.pop(result, None)
                self.at.closing.discard(result)
            if fd:
                fds[result] = fd
            if "CLOEXEC" in args:
                self.at.closing.add(result)
        elif name in ("mkdir", "mkdirat"):
            place = self.find(args, 0, parts[0] if name == "mkdirat" else None)
            if place:
                self.rename({place[0]: {place[1]: self.new(place[0], "folder", mode)}})
        elif name in ("unlink", "rmdir", "unlinkat"):
            place = self.find(args, 0, parts[0] if name == "unlinkat" else None)
            if place:
                self.rename({place[0]: {place[1]: None}})
        elif name in ("rename", "renameat", "renameat2"):
            dirs = (None, None) if name == "rename" else (parts[0], parts[2])
            one, two = self.find(args, 0, dirs[0]), self.find(args, 1, dirs[1])
            if one and two:
                back = two[2] if "RENAME_EXCHANGE" in args else None
                changes = collections.defaultdict(dict)
                changes[one[0]][one[1]] = back
                changes[two[0]][two[1]] = one[2]
                self.rename(changes, {one[0], two[0]})
        elif name in ("link", "linkat"):
            dirs = (None, None) if name == "link" else (parts[0], parts[2])
            one, two = self.find(args, 0, dirs[0]), self.find(args, 1, dirs[1])
            if one and two:
                self.rename({two[0]: {two[1]: one[2]}})
        elif name in ("symlink", "symlinkat"):
            raise SystemExit(f"a link is made, which this search does not know: {args}")
        elif name in ("fchmod", "chmod", "fchmodat", "fchmodat2"):
            place = self.find(args, 0, parts[0] if name.startswith("fchmodat") else None) if name != "fchmod" else fd and (0, 0, fd[0])
            if place and place[2] is not None:
                self.modes[place[2]] = mode
        elif name == "syncfs":
            self.flushes.append((self.seq, name, None, result))
        elif fd is None:
            return
        elif name in ("fsync", "fdatasync"):
            self.flushes.append((self.seq, name, fd[0], result))
        elif fd[0] in self.folders:
            return
        elif name == "read":
            fd[1] += result
        elif name == "lseek":
            fd[1] = result
        elif name in ("write", "writev"):
            data = b"".join(texts(args))[:result]
            at = self.size(fd[0]) if fd[2] else fd[1]
            self.put(fd[0], at, data)
            fd[1] = at + result
        elif name == "pwrite64":
            self.put(fd[0], int(parts[-1]), texts(args)[0][:result])
        elif name == "ftruncate":
            self.cut(fd[0], int(parts[1]))
        elif name == "copy_file_range" and parts[1] == parts[3] == "NULL":
            into = fds.get(int(parts[2]))
            begin = fd[1]
            fd[1] += result
            if into:
                now = self.content(fd[0], [unit.write for unit in self.units if unit.owner == fd[0] and unit.write])
                self.put(into[0], into[1], now[begin : begin + result])
                into[1] += result
        elif name in ("truncate", "copy_file_range", "sendfile") or (name == "ioctl" and "FICLONE" in args):
            raise SystemExit(f"{name} is made, which this search does not know")

    def open_units(self, model, until, dropped=None):
        """What a crash after the call `until` leaves open: units that are there for sure, and those that may be."""
        sure, lost = set(), set()
        for seq, name, ino, result in self.flushes:
            if seq > until or seq == dropped:
                continue
            earlier = [unit for unit in self.units if unit.seq < seq and unit not in lost]
            if name == "syncfs":
                held = earlier
            else:
                held = [unit for unit in earlier if unit.owner == ino]
                if model == "ordered":
                    last = max((unit.seq for unit in earlier if unit.names is not None and ino in unit.touches), default=0)
                    held += [unit for unit in earlier if unit.names is not None and unit.seq <= last]
            if result >= 0:
                sure.update(held)
            else:
                # The kernel drops what it could not write; a later flush knows nothing of it.
                lost.update(unit for unit in earlier if unit not in sure and unit.owner == ino)
        known = [unit for unit in self.units if unit.seq <= until]
        return [unit for unit in known if unit in sure], [unit for unit in known if unit not in sure]

    def tree(self, units, spoiled):
        """The files that these units make, by path; `spoiled` are other writes for some units."""
        folders = {ino: dict(names) for ino, names in self.base.items()}
        writes = collections.defaultdict(list)
        for unit in sorted(units, key=lambda unit: unit.seq):
            if unit.names is None:
                writes[unit.owner].append(spoiled.get(unit, unit.write))
            else:
                for name, ino in unit.names.items():
                    if ino is None:
                        folders[unit.owner].pop(name, None)
                    else:
                        folders[unit.owner][name] = ino
        found, walk = {}, [(b"", self.root)]
        while walk:
            path, ino = walk.pop()
            if ino in folders:
                found[path] = (ino, None)
                walk += [(path + b"/" + name if path else name, child) for name, child in folders[ino].items()]
            else:
                found[path] = (ino, self.content(ino, writes.get(ino, ())))
        return found

    def content(self, ino, writes):
        """A file's bytes after these writes."""
        text = bytearray(self.files[ino])
        for offset, data in writes:
            if len(text) < offset:
                text.extend(bytes(offset - len(text)))
            if data is None:
                del text[offset:]
            else:
                text[offset : offset + len(data)] = data
        return bytes(text)

    def states(self, model, until, chance, count, dropped=None):
        """What a crash after the call `until` may leave: units, and other writes for some of them."""
        sure, choice = self.open_units(model, until, dropped)
        if model == "ordered":
            # Names change in order, whole calls at a time; bytes are as open as under strict.
            names = [unit for unit in choice if unit.names is not None]
            data = [unit for unit in choice if unit.names is None]
            ends = sorted({unit.seq for unit in names})
            cuts = [0, *ends] if len(ends) <= 6 else [0, *ends[:2], *ends[-3:], *chance.sample(ends, 2)]
            picks = [
                [unit for unit in names if unit.seq <= cut] + kept
                for cut in cuts
                for kept in subsets(data, chance, max(2, count // 4))
            ]
        else:
            picks = subsets(choice, chance, count)
        for pick in picks:
            yield sure + pick, {}
        for unit in choice:
            if unit.names is None and unit.write[1]:
                offset, text = unit.write
                others = [other for other in choice if other is not unit]
                for write in ((offset, text[: len(text) // 2]), (offset, bytes(len(text)))):
                    yield sure + others + [unit], {unit: write}


def subsets(units, chance, count):
    """All choices of few units; of many: none, all, each alone, all but each, and some by chance."""
    if len(units) <= 4:
        return [list(pick) for size in range(len(units) + 1) for pick in itertools.combinations(units, size)]
    singles = units if len(units) <= 24 else chance.sample(units, 24)
    picks = [[], units] + [[unit] for unit in singles] + [[other for other in units if other is not unit] for unit in singles]
    return picks + [[unit for unit in units if chance.random() < 0.5] for _ in range(count)]


class Digests:
    """Digests of states: sums over their files. Most states share most of their names and bytes, so what was worked out is kept."""

    def __init__(self, disk):
        self.disk, self.names, self.bytes, self.files = disk, {}, {}, {}
        self.numbers = {unit: number for number, unit in enumerate(disk.units)}

    def of(self, units, spoiled):
        names, writes = [], collections.defaultdict(list)
        for number in sorted(map(self.numbers.get, units)):
            unit = self.disk.units[number]
            if unit.names is None:
                writes[unit.owner].append((number, spoiled.get(unit)))
            else:
                names.append(number)
        key = tuple(names)
        if key not in self.names:
            found = self.disk.tree([self.disk.units[number] for number in names], {})
            places, total = collections.defaultdict(list), 0
            for path, (ino, text) in found.items():
                if text is not None:
                    places[ino].append(path)
                total += self.file(path + b"/" if text is None else path, b"" if text is None else self.text(ino, ()))
            self.names[key] = places, total
        places, total = self.names[key]
        for ino, changes in writes.items():
            for path in places.get(ino, ()):
                total += self.file(path, self.text(ino, changes)) - self.file(path, self.text(ino, ()))
        return total % (1 << 256)

    def file(self, path, text):
        if (path, text) not in self.files:
            self.files[path, text] = int.from_bytes(hashlib.sha256(path + b"\0" + text).digest(), "big")
        return self.files[path, text]

    def text(self, ino, writes):
        key = ino, tuple((number, other and (len(other[1] or b""), hash(other))) for number, other in writes)
        if key not in self.bytes:
            changes = [other or self.disk.units[number].write for number, other in writes]
            self.bytes[key] = hashlib.sha256(self.disk.content(ino, changes)).digest()
        return self.bytes[key]


def spread(jobs, count):
    """Every so-manieth of these, such that it comes to about so many; all of them if there are fewer."""
    kept, stride = [], 1
    for number, job in enumerate(jobs):
        if number % stride == 0:
            kept.append(job)
            if len(kept) == 2 * count:
                kept, stride = kept[::2], stride * 2
    return kept


def lay_out(tree, modes, at):
    os.mkdir(at)
    for path, (ino, text) in sorted(tree.items()):
        target = os.path.join(os.fsencode(at), path)
        if text is None:
            os.makedirs(target, exist_ok=True)
        else:
            with open(target, "wb") as file:
                file.write(text)
            os.chmod(target, modes[ino])
    for path, (ino, text) in sorted(tree.items(), reverse=True):
        if text is None:
            os.chmod(os.path.join(os.fsencode(at), path), modes[ino])


def log(cwd):
    ran = sweep.run("--store store --json log".split(), cwd)
    return ran.stdout.splitlines() if ran.returncode == 0 else [b"log exits %d" % ran.returncode]


def kept(cwd):
    """Files that neither a cache nor the log could bring back: settings, keys, their memory, the checkpoint."""
    found = [os.path.join(folder, name) for folder, _, names in os.walk(os.path.join(cwd, "home")) for name in names]
    found += [os.path.join(cwd, "store", name) for name in ("strongroom.toml", "audit/checkpoint")]
    return [os.path.relpath(path, cwd) for path in found if os.path.isfile(path) and not path.endswith(".lock")]


class Run:
    """One run of a command under strace: the disk with its calls, what the log had before and after, how it ended."""

    def __init__(self, command, argv, top, inject=None):
        self.command, self.argv, self.top = command, argv, top
        cwd = sweep.copy(command, top)
        self.before = log(cwd) if os.path.exists(os.path.join(cwd, "store/strongroom.toml")) else []
        self.disk = Disk(cwd)
        trace = os.path.join(top, "trace")
        wrap = ["strace", "-f", "-qq", "-xx", "-s", "4000000", "-o", trace, "-e", "trace=" + ",".join("?" + c for c in CALLS)]
        ran = sweep.run(argv, cwd, wrap + (["-e", f"inject={inject}"] if inject else []))
        with open(trace) as file:
            for call in calls(file):
                self.disk.does(*call)
        faithful(self.disk, cwd)
        self.kept = {path: open(os.path.join(cwd, path), "rb").read() for path in kept(cwd)}
        self.after, self.end, self.code = log(cwd), sweep.state(cwd), ran.returncode

    def lost(self, cwd):
        """What of an acknowledged end is not there."""
        for path, text in self.kept.items():
            if not os.path.exists(os.path.join(cwd, path)) or open(os.path.join(cwd, path), "rb").read() != text:
                return path
        if log(cwd)[: len(self.after)] != self.after:  # A folder left in tmp/ is told of behind them.
            return "entries of the log"
        return "runs" if sweep.state(cwd) != self.end else None

    def jobs(self, args, seen, dropped=None, first=0):
        """The states to check, each once: a name for it, the numbers of its units, other writes, whether it was acknowledged."""
        disk, chance = self.disk, random.Random(1)
        last = disk.seq + 1
        digests = Digests(disk)
        numbers = digests.numbers
        points = sorted({unit.seq for unit in disk.units} | {seq for seq, *_ in disk.flushes} | {last})
        for until in [point for point in points if point >= first]:
            told = until == last and self.code == 0
            for model in ("strict", "ordered"):
                for number, (units, spoiled) in enumerate(disk.states(model, until, chance, args.random, dropped)):
                    key = digests.of(units, spoiled), told
                    if key not in seen:
                        seen.add(key)
                        place = f"{self.command.name}: {model}, after call {until} of {last}, state {number}"
                        yield place, array.array("I", map(numbers.get, units)), {numbers[unit]: w for unit, w in spoiled.items()}, told


RUN = None
DEADLINE = float("inf")


def attempt(job):
    """Checks one state of the run; gives what is wrong with it, or nothing."""
    place, units, spoiled, told = job
    command, disk = RUN.command, RUN.disk
    cwd = os.path.join(RUN.top, "box/at")
    try:
        sweep.clear(cwd)
        lay_out(disk.tree([disk.units[n] for n in units], {disk.units[n]: w for n, w in spoiled.items()}), disk.modes, cwd)
        check = sweep.run("--store store verify".split(), cwd)
        if check.returncode not in ((0,) if told else command.between):
            return f"{place}: verify exits {check.returncode} in between: {(check.stdout + check.stderr).decode()}"
        # What was acknowledged is there before anything can have mended it.
        if told and (lost := RUN.lost(cwd)):
            return f"{place}: acknowledged and lost: {lost}"
        again = sweep.run(RUN.argv, cwd)
        if again.returncode not in command.again:
            return f"{place}: run again exits {again.returncode}: {(again.stdout + again.stderr).decode()}"
        check = sweep.run("--store store verify".split(), cwd)
        if check.returncode:
            return f"{place}: verify exits {check.returncode} at the end: {(check.stdout + check.stderr).decode()}"
        if command.again == (0,) and (now := sweep.state(cwd)) != RUN.end:
            return f"{place}: another end: {now}\nnot {RUN.end}"
        if RUN.before and (now := log(cwd))[: len(RUN.before)] != RUN.before:
            return f"{place}: the log lost entries: {len(now)} are there, {len(RUN.before)} were acknowledged"
    except (OSError, sweep.subprocess.TimeoutExpired) as error:
        return f"{place}: {error}"
    return None


def check(run, jobs, workers):
    """What is wrong with the states of a run, as it is found."""
    global RUN
    jobs = itertools.takewhile(lambda _: time.monotonic() < DEADLINE, jobs)
    RUN = run  # The processes of the pool are copies of this one.
    with multiprocessing.Pool(workers, sweep.own_box if workers > 1 else None, (run.top,)) as pool:
        yield from pool.imap_unordered(attempt, jobs, chunksize=4)


def faithful(disk, cwd):
    """Stops if the calls as understood do not make the files that are really there."""
    for path, (_, text) in disk.tree(disk.units, {}).items():
        real = os.path.join(os.fsencode(cwd), path)
        if text is not None and not path.endswith(b"-shm"):
            with open(real, "rb") as file:
                if file.read() != text:
                    sys.exit(f"{path.decode()} is not what the calls wrote; the search would be worth nothing")


def name_of(disk, ino):
    walk = [("", disk.root)]
    while walk:
        path, here = walk.pop()
        if here == ino:
            return path or "."
        walk += [(f"{path}/{name.decode()}".lstrip("/"), child) for name, child in disk.folders.get(here, {}).items()]
    return "a file since removed or replaced"


def search(command, argv, top, plain, args):
    """Gives how many states were checked and what is wrong with which."""
    if not args.failed:
        jobs = itertools.islice(plain.jobs(args, set()), 0, None, args.slice)
        said = list(check(plain, spread(jobs, args.states) if args.states else jobs, args.jobs))
        return len(said), [wrong for wrong in said if wrong]
    said, counts, seen = [], collections.Counter(), set()
    for _, name, _, _ in plain.disk.flushes:
        counts[name] += 1
        run = Run(command, argv, top, f"{name}:error=EIO:when={counts[name]}")
        run.end = plain.end
        # What a loss before the failure leaves is what it leaves of a run without one.
        failed = next((seq for seq, _, _, result in run.disk.flushes if result < 0), 0)
        jobs = itertools.islice(run.jobs(args, seen, first=failed), 0, None, args.slice)
        said += check(run, spread(jobs, -(-args.states // len(plain.disk.flushes))) if args.states else jobs, args.jobs)
    return len(said), [wrong for wrong in said if wrong]


def mutants(plain, args):
    """Takes out each flush in turn; gives how many were tried and those that nothing showed."""
    good, unseen = set(), []
    collections.deque(plain.jobs(args, good), maxlen=0)
    flushes = plain.disk.flushes[:: args.slice]
    for seq, name, ino, _ in flushes:
        fresh = plain.jobs(args, set(good), dropped=seq, first=seq)
        if not any(check(plain, fresh, args.jobs)):
            place = "the filesystem" if ino is None else name_of(plain.disk, ino)
            unseen.append(f"{plain.command.name}: {name} of {place}, call {seq}")
    return len(flushes), unseen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--failed", action="store_true")
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--only", action="append")
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("--slice", type=int, default=1)
    parser.add_argument("--states", type=int)
    parser.add_argument("--random", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--dir", default="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    parser.add_argument("program", nargs="?", default="target/debug/strongroom")
    args = parser.parse_args()
    global DEADLINE
    DEADLINE = time.monotonic() + args.seconds
    sweep.PROGRAM = os.path.abspath(args.program)
    bad, total = [], 0
    head = ("mutants", "unseen") if args.mutants else ("states", "bad")
    print(f"{'command':24}{'flushes':>8}{'calls':>7}{head[0]:>8}{head[1]:>7}{'per s':>7}", flush=True)
    with sweep.boxes(args.dir, args.jobs) as (top, args.jobs):
        names = sweep.templates(top)
        for command in sweep.COMMANDS:
            if args.only and command.name not in args.only or command.name in args.skip or time.monotonic() > DEADLINE:
                continue
            argv = [names.get(word, word) for word in command.argv.split()]
            plain, begun = Run(command, argv, top), time.monotonic()
            count, wrong = mutants(plain, args) if args.mutants else search(command, argv, top, plain, args)
            print(f"{command.name:24}{len(plain.disk.flushes):8}{plain.disk.seq:7}{count:8}{len(wrong):7}{count / (time.monotonic() - begun):7.1f}", flush=True)
            bad += wrong
            total += count
    print(f"{'all':24}{'':15}{total:8}{len(bad):7}")
    if not total:
        sys.exit("no such state")
    for said in bad[:40]:
        print("unseen:" if args.mutants else "bad:", said)
    sys.exit(1 if bad and not args.mutants else 0)


if __name__ == "__main__":
    main()
