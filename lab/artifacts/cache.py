# SPDX-License-Identifier: GPL-2.0-or-later
"""The content-addressed store of what is built once and shared read-only by all guests.

An artifact is a directory `KIND/NAME-KEY` below the cache directory.  Its key is a hash of
everything that goes in, so a changed definition or script is another artifact and an old one is
never wrong, only unused.  A builder works in `KIND/.partial-NAME-KEY` under a lock of that key
and renames at the end: what is there under its own name is complete.

Whoever gets an artifact from ensure() holds a shared flock on its directory until the process
ends: a run boots its guest again and again, and nothing of it is mapped in between.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from lab.artifacts.depot import travel_time, travelling
from lab.errors import HostError, LackError
from lab.host import dirs, lock
from lab.host.process import touching, working_in

FORMAT = 1
"""Part of every key; raise it when the store itself changes what it writes."""

BUILD_DEADLINE = 3600.0
"""Seconds that building may take, unless its builder says more: mmdebstrap, twice, since one of the
same name may have to end first, and packing."""

MANIFEST = "manifest.json"
_PARTIAL = ".partial-"

_NO_LOCK = (errno.EAGAIN, errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
"""How flock on a directory is refused: by another holder, or by a file system (NFS)."""

Progress = Callable[[str], None]
"""Told the phase a builder is in, such as 'image trixie: packages'."""

Builder = Callable[[Path], Mapping[str, str]]
"""Fills an empty directory; returns the versions of what it put there."""


@dataclass(frozen=True)
class Manifest:
    """What the store knows about an artifact without looking inside."""

    kind: str
    name: str
    key: str
    built: str
    """UTC, ISO 8601."""
    size: int
    """Bytes on disk."""
    versions: dict[str, str]


@dataclass(frozen=True)
class Artifact:
    """One finished build; `path` is its directory."""

    kind: str
    name: str
    key: str
    path: Path

    def manifest(self) -> Manifest:
        """Read manifest.json.  Raises HostError when it is missing or damaged."""
        try:
            return Manifest(**json.loads((self.path / MANIFEST).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise HostError(
                f"{self.path}: damaged artifact: {error}", hint="remove that directory"
            ) from error


Made = tuple[Artifact, Manifest]
"""A finished build, and its manifest as it was when it was listed."""


def ensure(
    kind: str,
    name: str,
    inputs: Mapping[str, str],
    build: Builder,
    progress: Progress,
    *,
    room: int,
    deadline: float = BUILD_DEADLINE,
) -> Artifact:
    """Return the artifact made of `inputs`, building it if it is not there yet.

    `room` is the free space in bytes that building needs; less raises HostError before anything
    starts.  `deadline` is what `build` may take, in seconds: so long another process is waited for
    that builds the same, and not being done by then is a HostError.  Whatever `build` raises,
    KeyboardInterrupt included, leaves nothing half-made.
    """
    return _ensured(address(kind, name, inputs), build, progress, room, deadline)


def brought(kind: str, named: str, build: Builder, progress: Progress, *, room: int) -> Artifact:
    """The artifact called NAME-KEY, of whose inputs this host knows nothing: from the depot, if it
    is not there yet.  `build` says that it cannot be had."""
    name, _, key = named.rpartition("-")
    return _ensured(Artifact(kind, name, key, dirs.cache("artifacts", kind) / named),
                    build, progress, room, BUILD_DEADLINE)  # fmt: skip


def _ensured(
    artifact: Artifact, build: Builder, progress: Progress, room: int, deadline: float
) -> Artifact:
    if use(artifact):
        return artifact
    kind, name = artifact.kind, artifact.name

    def waiting(path: Path) -> None:
        progress(f"{kind} {name}: another process (pid {lock.holder(path)}) is building it")

    longest = deadline + travel_time(kind)
    with lock.held(_lock(artifact.key), deadline=longest, on_wait=waiting):
        if not artifact.path.is_dir():
            _sweep(artifact.path.parent, artifact.key)
            _check_room(artifact, room)
            _build(artifact, travelling(kind, artifact.path.name, build, progress))
        use(artifact)
    return artifact


def listing(kind: str) -> list[Artifact]:
    """All finished artifacts of a kind, by name, newest first; without what others remove
    meanwhile."""
    found = []
    for path in dirs.cache("artifacts", kind).iterdir():
        if not path.name.startswith("."):
            name, _, key = path.name.rpartition("-")
            with contextlib.suppress(FileNotFoundError):
                found.append((-path.stat().st_mtime, Artifact(kind, name, key, path)))
    return [one for _, one in sorted(found, key=lambda each: (each[1].name, each[0]))]


def manifests(kind: str) -> list[Made]:
    """The same, with what the store knows about each.  Raises HostError for a damaged one."""
    made = [(artifact, _manifest(artifact)) for artifact in listing(kind)]
    return [(artifact, manifest) for artifact, manifest in made if manifest]


def remove(artifact: Artifact) -> bool:
    """Remove an artifact; guests that have its files open keep them until they end.

    Whether it was still there: another process may have removed it.
    """
    with lock.held(_lock(artifact.key), deadline=BUILD_DEADLINE):
        return _remove(artifact)


def remove_unused(artifact: Artifact) -> bool:
    """Remove an artifact unless a process of the lab builds it or works with it, or one of any kind
    has its files open or on its command line; whether it was removed."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock.held(_lock(artifact.key), deadline=0))
            directory = os.open(artifact.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (HostError, FileNotFoundError):
            return False
        stack.callback(os.close, directory)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCK:
                return False
            raise
        # From now on nobody can begin to use it.
        return not touching(artifact.path) and _remove(artifact)


def _remove(artifact: Artifact) -> bool:
    """Remove it, the caller holding its lock; whether it was there."""
    doomed = _partial(artifact)
    shutil.rmtree(doomed, ignore_errors=True)
    if not artifact.path.exists():
        return False
    # First out of sight in one step: nobody must find it half-removed.
    artifact.path.rename(doomed)
    shutil.rmtree(doomed)
    return True


def remove_named(kind: str, name: str | None) -> list[Artifact]:
    """Remove every artifact of a kind that has `name`, or all if it is None; return them."""
    doomed = [artifact for artifact in listing(kind) if name in (None, artifact.name)]
    return [artifact for artifact in doomed if remove(artifact)]


def address(kind: str, name: str, inputs: Mapping[str, str]) -> Artifact:
    """The artifact that ensure() would return, whether it is there or not."""
    text = json.dumps([FORMAT, kind, name, sorted(inputs.items())])
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Artifact(kind, name, key, dirs.cache("artifacts", kind) / f"{name}-{key}")


def _build(artifact: Artifact, build: Builder) -> None:
    partial = _partial(artifact)
    partial.mkdir(mode=0o700)
    try:
        versions = dict(build(partial))
        manifest = Manifest(
            artifact.kind,
            artifact.name,
            artifact.key,
            datetime.now(UTC).isoformat(timespec="seconds"),
            sum(file.stat().st_blocks * 512 for file in _files(partial)),
            versions,
        )
        (partial / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")
        partial.rename(artifact.path)
    except OSError as error:
        if error.errno in dirs.CURES:
            raise dirs.not_writable(partial, error) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def being_made(artifact: Artifact) -> bool:
    """Whether another process builds it just now."""
    try:
        with lock.held(_lock(artifact.key), deadline=0):
            return False
    except HostError:
        return True


def half_made() -> list[Path]:
    """What killed builders left."""
    found = []
    for partial in sorted(dirs.cache("artifacts").glob(f"*/{_PARTIAL}*")):
        # Its builder has the lock.
        with contextlib.suppress(HostError), lock.held(_lock(_key(partial)), deadline=0):
            found.append(partial)
    return found


def sweep(partial: Path) -> bool:
    """Remove what a killed builder left; whether it was one: the builder may be alive."""
    try:
        with lock.held(_lock(_key(partial)), deadline=0):
            _clear(partial)
            return True
    except HostError:
        return False


def _sweep(store: Path, own_key: str) -> None:
    """Remove what killed builders left; the caller holds the lock of `own_key`."""
    for partial in store.glob(f"{_PARTIAL}*"):
        if _key(partial) == own_key:
            _clear(partial)
        else:
            sweep(partial)


def _clear(partial: Path) -> None:
    """Remove what a killed builder left, and end the machine that it ran in there."""
    for process in working_in(partial, "-nodefaults"):
        process.kill_group()
    shutil.rmtree(partial, ignore_errors=True)


_held: dict[Path, int] = {}
"""Directories of the artifacts that this process uses, open and locked."""


def use(artifact: Artifact) -> bool:
    """Hold an artifact for as long as this process lives; whether it is there."""
    try:
        directory = os.open(artifact.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
        there = os.path.samestat(os.fstat(directory), artifact.path.stat())
    except OSError as error:
        # What cannot be locked is not removed by remove_unused(); EAGAIN: it is going just now.
        there = error.errno in _NO_LOCK and error.errno != errno.EAGAIN
    if not there:
        os.close(directory)
        return False
    # In one step: several threads may ask for the same.
    former = _held.pop(artifact.path, None)
    _held[artifact.path] = directory
    if former is not None:
        os.close(former)
    return True


def _check_room(artifact: Artifact, room: int) -> None:
    free = shutil.disk_usage(artifact.path.parent).free
    if free < room:
        raise LackError(
            f"{artifact.kind} {artifact.name}: building needs {room >> 20} MiB in"
            f" {artifact.path.parent}, but only {free >> 20} MiB are free",
            hint="free some space there, or set XDG_CACHE_HOME to a larger file system",
        )


def _manifest(artifact: Artifact) -> Manifest | None:
    """The manifest of an artifact; None if another process removes it meanwhile."""
    try:
        # Held open, so that its inode's number is given to no other directory.
        directory = os.open(artifact.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return artifact.manifest()
    except HostError:
        # What was removed is not damaged, even if it was built again since, at the same path.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(directory), artifact.path.stat()):
                raise
        return None
    finally:
        os.close(directory)


def _partial(artifact: Artifact) -> Path:
    return artifact.path.with_name(_PARTIAL + artifact.path.name)


def _key(path: Path) -> str:
    """The key in the name of an artifact's directory."""
    return path.name.rpartition("-")[2]


def _lock(key: str) -> Path:
    return dirs.cache("artifacts", "locks") / f"{key}.lock"


def _files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file())
