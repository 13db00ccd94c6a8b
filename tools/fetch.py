"""Installs groups of pinned tools into .tools/: python3 tools/fetch.py STORE GROUP=LOCKFILE …

tools/fetch calls this when a group's stamp does not match. One rule carries the design: the stamp is written last, when
the group is complete, in its place, and linked. A group is built beside its place and renamed, so that whatever is
killed, wherever, leaves the former group or one without a stamp, and the next run builds it again. Two runs at once take
turns by a lock that the kernel ends with the process that holds it; the second one finds the work done.

    .tools/lock          the lock
    .tools/GROUP/        what pip or npm installed, with .stamp
    .tools/bin/          a link to each group's programs: the directory for PATH
    .tools/.new.*        being built, or left by a run that was killed: removed by the next run
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOLS = Path(__file__).resolve().parent


def say(line):
    print(line, file=sys.stderr, flush=True)


def stamp_of(lock_file):
    """What `uname -sm; cat LOCKFILE` prints: tools/fetch compares with that."""
    system = os.uname()
    return f"{system.sysname} {system.machine}\n".encode() + lock_file.read_bytes()


def is_current(group, stamp):
    try:
        return (group / ".stamp").read_bytes() == stamp
    except OSError:
        return False


def run_quietly(command, **options):
    """Runs a package manager; what it printed is shown only when it failed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        sys.stderr.buffer.write(done.stdout)
        say(f"\n{' '.join(command[:4])} … failed with status {done.returncode}; what it said is above.")
        if b"HASHES" not in done.stdout:
            say("Without a network, or behind a proxy or a mirror? pip's and npm's own settings are used: set it up there.")
        sys.exit(1)


def install_with_pip(lock_file, target):
    # Settings of the person that would get in the way of --target; an unknown one is ignored by an older pip.
    environment = dict(os.environ, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PIP_ROOT_USER_ACTION="ignore")
    run_quietly(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        + ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile"]
        + ["--target", str(target), "--requirement", str(lock_file)],
        env=environment,
    )


def install_with_npm(lock_file, target):
    target.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(lock_file.parent / name, target / name)
    # Only data and programs as published: no package may run a script of its own here.
    run_quietly(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=target)


def install(store, name, lock_file, stamp):
    say(f"fetching {name} (tools/{lock_file.relative_to(TOOLS)})")
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix=".new.", dir=store))
    built, group = work / "built", store / name
    if lock_file.name == "package-lock.json":
        install_with_npm(lock_file, built)
    else:
        install_with_pip(lock_file, built)
    if group.exists():
        group.rename(work / "former")
    built.rename(group)
    shutil.rmtree(work)
    link_programs(store)
    (group / ".stamp").write_bytes(stamp)
    say(f"fetched {name} in {time.monotonic() - began:.1f} s")


def link_programs(store):
    """Points .tools/bin/ at the programs of all groups, and at nothing else."""
    directory = store / "bin"
    directory.mkdir(exist_ok=True)
    wanted = {}
    for program in sorted(store.glob("*/bin/*")):
        if program.parent != directory and not program.parent.parent.name.startswith("."):
            wanted[program.name] = os.path.relpath(program, directory)
    for link in directory.iterdir():
        if link.name not in wanted:
            link.unlink()
    for name, destination in wanted.items():
        link = directory / name
        if not link.is_symlink() or os.readlink(link) != destination:
            # By rename, so that the name is there at every moment.
            new = directory / f".{name}.new"
            new.unlink(missing_ok=True)
            new.symlink_to(destination)
            new.replace(link)


def main(store, pairs):
    store.mkdir(exist_ok=True)
    with open(store / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("another run is fetching tools; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in store.glob(".new.*"):
            shutil.rmtree(left, ignore_errors=True)
        for pair in pairs:
            name, _, lock_name = pair.partition("=")
            lock_file = TOOLS / lock_name
            stamp = stamp_of(lock_file)
            if not is_current(store / name, stamp):
                install(store, name, lock_file, stamp)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2:])
    except KeyboardInterrupt:
        sys.exit(130)
