# SPDX-License-Identifier: GPL-2.0-or-later
"""The depot: what hosts make for each other and for later, at the fsspec URL in LAB_ARTIFACTS.

    KIND/NAME-KEY.json    an entry: the SHA-256 and size of a blob, and versions
    blobs/SHA256          a tar file, compressed by zstd

An entry is written when its blob is complete.  A blob is read to a file of its own, from where the
last attempt broke off, and counts when it has the right sum; it is written under a name of its own
and renamed, where the file system has such a thing (SFTP, directories): a `put` of fsspec's would
truncate what is there first.  Who can write to a depot decides what its readers run.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import HostError, UsageError
from lab.host import dirs, lock
from lab.host.command import run
from lab.host.scratch import scratch

VARIABLE = "LAB_ARTIFACTS"
TRAVEL = ("image", "initramfs", "kernel", "module", "qemu", "tool", "tree")
"""The kinds of artifacts that mean the same on every host."""

_CHUNK = 1 << 20
_ATTEMPTS = 3
_PACK_DEADLINE = 3600.0
_FETCH_DEADLINE = 3600.0
"""Seconds to wait for another process that fetches the same."""

Progress = Callable[[str], None]
Lease = Callable[[str, Progress], AbstractContextManager[None]]
"""While it is held, no other host makes the artifact of that name."""


def _nobody(_name: str, _progress: Progress) -> AbstractContextManager[None]:
    return nullcontext()


_lease: list[Lease] = [_nobody]


def lease_with(lease: Lease) -> None:
    """Have hosts that share a store agree on who makes what."""
    _lease[0] = lease


@dataclass(frozen=True)
class Entry:
    """What the depot knows of a thing."""

    sha256: str
    size: int
    """Bytes of the blob."""
    versions: dict[str, str]


class Depot:
    """What lies at a URL.  Errors of its file system become HostError."""

    def __init__(self, url: str) -> None:
        # These are slow to import, and most commands make nothing.
        import fsspec

        self._url, self._sftp = url, url.startswith("sftp://")
        with self._telling("open"):
            if self._sftp:
                from lab.artifacts.sftp import PinnedSftp

                # Not by the protocol's name, which another package may take over.
                self._files: Any = PinnedSftp(**PinnedSftp.options(url))
                self._root = PinnedSftp._strip_protocol(url).rstrip("/")
            else:
                self._files, root = fsspec.core.url_to_fs(url)
                self._root = root.rstrip("/")
        self.read_only = bool({"http", "https"} & self._protocols)

    @property
    def _local(self) -> bool:
        return "file" in self._protocols

    @property
    def _protocols(self) -> set[str]:
        named = self._files.protocol
        return {named} if isinstance(named, str) else set(named)

    def entry(self, name: str) -> Entry | None:
        """What there is under a name; None for nothing."""
        with self._telling(f"read {name}.json"):
            try:
                return Entry(**json.loads(self._files.cat_file(f"{self._root}/{name}.json")))
            except FileNotFoundError:
                return None
            except (ValueError, TypeError) as error:
                raise HostError(f"{self._url}/{name}.json: damaged: {error}") from error

    def fetch(self, name: str, directory: Path, progress: Progress) -> Entry | None:
        """Unpack what there is under a name into a directory; None where there is nothing."""
        found = self.entry(name)
        if found is None:
            return None
        blob = dirs.cache("incoming") / found.sha256
        with lock.held(blob.with_suffix(".lock"), deadline=_FETCH_DEADLINE):
            progress(f"{name}: fetch {found.size >> 20} MiB from {self._url}")
            self._download(found, blob)
            unpack(blob, directory)
            blob.unlink()
        return found

    def put(self, name: str, directory: Path, versions: Mapping[str, str]) -> None:
        """Put a directory there under a name."""
        with _packed(directory) as (tar, sha256):
            blob, entry = f"{self._root}/blobs/{sha256}", Entry(
                sha256, tar.stat().st_size, dict(versions))  # fmt: skip
            with self._telling(f"write {name}"):
                self._files.makedirs(f"{self._root}/blobs", exist_ok=True)
                self._files.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
                with tar.open("rb") as source:
                    self._write(blob, source)
                text = json.dumps(vars(entry), indent=1).encode()
                with tar.with_suffix(".json").open("w+b") as said:
                    said.write(text)
                    said.seek(0)
                    self._write(f"{self._root}/{name}.json", said)

    def _write(self, path: str, source: Any) -> None:
        """Write a file that nobody sees half-written."""
        own = f"{path}.new-{secrets.token_hex(8)}" if self._sftp or self._local else path
        try:
            with self._files.open(own, "wb") as sink:
                shutil.copyfileobj(source, sink, _CHUNK)
                if self._local:
                    sink.flush()
                    os.fsync(sink.fileno())
            if own != path:
                self._rename(own, path)
        except BaseException:
            with contextlib.suppress(Exception):
                self._files.rm_file(own)
            raise

    def _rename(self, own: str, path: str) -> None:
        if self._sftp:
            self._files.mv(own, path)
        else:
            Path(own).replace(path)

    def _download(self, found: Entry, blob: Path) -> None:
        """The blob of an entry, whole; what an earlier attempt has of it is kept."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._telling(f"read {found.sha256}"):
                    self._go_on(found, blob)
                break
            except HostError:
                if attempt == _ATTEMPTS:
                    raise
        if (seen := _sum(blob)) != found.sha256:
            blob.unlink()
            raise HostError(
                f"{self._url}/blobs/{found.sha256}: damaged: its sum is {seen}",
                hint="remove that file; who lacks it makes it again",
            )

    def _go_on(self, found: Entry, blob: Path) -> None:
        with blob.open("ab") as sink:
            if sink.tell() > found.size:
                sink.truncate(0)
            if sink.tell() < found.size:
                with self._files.open(f"{self._root}/blobs/{found.sha256}", "rb") as source:
                    source.seek(sink.tell())
                    shutil.copyfileobj(source, sink, _CHUNK)
            sink.flush()
            os.fsync(sink.fileno())

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        try:
            yield
        except HostError:
            raise
        except ImportError as error:
            raise UsageError(f"{VARIABLE}: {self._url}: {error}", hint="pip install it") from error
        except Exception as error:  # each file system of fsspec has its own
            said = str(error) or type(error).__name__
            raise HostError(
                f"{self._url}: cannot {what}: {said}", hint=f"check it, or {VARIABLE}"
            ) from error


def opened() -> Depot | None:
    """The depot that LAB_ARTIFACTS names; None where it names none.  Raises HostError."""
    url = os.environ.get(VARIABLE, "")
    return Depot(url) if url else None


def travelling(
    kind: str, name: str, build: Callable[[Path], Mapping[str, str]], progress: Progress
) -> Callable[[Path], Mapping[str, str]]:
    """A builder of an artifact that fetches it where another host has made it, and puts it there
    where this one does.

    A depot that cannot be reached, or is damaged, costs a build, no more.
    """
    if kind not in TRAVEL or not os.environ.get(VARIABLE):
        return build
    thing = f"{kind}/{name}"

    def travelled(directory: Path) -> Mapping[str, str]:
        depot = _reached(progress)
        if depot is None:
            return build(directory)
        if (found := _fetched(depot, thing, directory, progress)) is not None:
            return found.versions
        with _lease[0](thing, progress):
            # Whoever was waited for may have made it.
            if (found := _fetched(depot, thing, directory, progress)) is not None:
                return found.versions
            versions = build(directory)
            _offered(depot, thing, directory, versions, progress)
        return versions

    return travelled


def travel_time(kind: str) -> float:
    """Seconds that fetching and offering an artifact may take beside its making; 0 for one that
    does not travel."""
    if kind not in TRAVEL or not os.environ.get(VARIABLE):
        return 0.0
    # Another process may fetch the same first, and another host have the lease.
    return 2 * _FETCH_DEADLINE + 2 * _PACK_DEADLINE


def share(kind: str, directory: Path, versions: Mapping[str, str]) -> None:
    """Have an artifact of this host in the depot.  Raises HostError."""
    depot, name = opened(), f"{kind}/{directory.name}"
    if depot is not None and depot.entry(name) is None:
        depot.put(name, directory, versions)


def unpack(blob: Path, directory: Path) -> None:
    """Unpack a blob.  Raises HostError."""
    directory.mkdir(exist_ok=True)
    argv = ["tar", "--extract", "--zstd", "--sparse", f"--file={blob}", f"--directory={directory}",
            "--no-same-owner"]  # fmt: skip
    run(argv, deadline=_PACK_DEADLINE)


@contextmanager
def _packed(directory: Path) -> Iterator[tuple[Path, str]]:
    """A directory as a tar file, and its SHA-256."""
    with scratch(dirs.cache) as place:
        tar = place / "packed"
        argv = ["tar", "--create", "--zstd", "--sparse", "--format=gnu", "--sort=name",
                "--exclude=./manifest.json", "--owner=root:0", "--group=root:0", f"--file={tar}",
                f"--directory={directory}", "."]  # fmt: skip
        run(argv, deadline=_PACK_DEADLINE)
        yield tar, _sum(tar)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reached(progress: Progress) -> Depot | None:
    try:
        return opened()
    except HostError as error:
        progress(f"no depot: {error.message}")
        return None


def _fetched(depot: Depot, name: str, directory: Path, progress: Progress) -> Entry | None:
    try:
        return depot.fetch(name, directory, progress)
    except HostError as error:
        progress(f"{name} is made here: {error.message}")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        return None


def _offered(
    depot: Depot, name: str, directory: Path, versions: Mapping[str, str], progress: Progress
) -> None:
    if depot.read_only:
        return
    try:
        progress(f"{name}: to the depot")
        depot.put(name, directory, versions)
    except HostError as error:
        progress(f"{name} stays here alone: {error.message}")
