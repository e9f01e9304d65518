# SPDX-License-Identifier: GPL-2.0-or-later
"""A small repository in which a series is applied, out of the way of what was built before.

Its work tree has the files that the series touches and no more.  What comes of it is a commit, to
which a checkout can go in one step, or a report of all that does not fit.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from lab.artifacts.kernels import rejects
from lab.artifacts.kernels.git import git
from lab.artifacts.kernels.mails import Mail
from lab.artifacts.kernels.rejects import Reject
from lab.errors import HostError
from lab.host.command import DETAIL_LINES, tail

# What `git am --3way` says, in the words of builtin/am.c of git 2.39.
_APPLYING = re.compile(r"^Applying: ", re.MULTILINE)
_MERGED = "Falling back to patching base and 3-way merge"
_THERE_ALREADY = "No changes -- Patch already applied"
_NO_BLOB = "lacking or useless"
# And `git apply --reject` of a whole file (apply.c).
_REFUSED = re.compile(r"^error: (?P<file>[^\n]*): (?P<why>[^:\n]*)$", re.MULTILINE)
_BLOB = re.compile(r"^index ([0-9a-f]{7,})\.\.", re.MULTILINE)


class SeriesRejection(Exception):
    """A series that does not fit its sources."""

    def __init__(self, found: Sequence[Reject]) -> None:
        super().__init__(found[0].place)
        self.found = found


@dataclass(frozen=True)
class AppliedSeries:
    """A series on its sources."""

    commit: str
    subjects: list[str]
    notes: list[str]
    """What went otherwise than straight, a line each."""


class Scratch:
    """The repository; its directory is the caller's to remove."""

    def __init__(self, directory: Path, objects: dict[str, str]) -> None:
        self.directory = directory
        self._objects = objects
        self._git("init", "--quiet")

    @classmethod
    def of_commit(
        cls, directory: Path, repository: Path, commit: str, files: set[str], *, keep: bool
    ) -> "Scratch":
        """A commit of another repository, which is only read, or `keep`s what is made here."""
        where = ("rev-parse", "--path-format=absolute", "--git-path", "objects")
        objects = git(repository, *where)
        own = str(directory / ".git/objects")
        scratch = cls(
            directory,
            {"GIT_OBJECT_DIRECTORY": objects}
            if keep
            else {"GIT_OBJECT_DIRECTORY": own, "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects},
        )
        scratch._git("config", "core.repositoryFormatVersion", "1")
        for name, value in _remotes(repository):
            scratch._git("config", name, value)
        info = directory / ".git/info"
        info.mkdir(exist_ok=True)
        (info / "sparse-checkout").write_text("".join(f"/{_escaped(one)}\n" for one in files))
        scratch._git("config", "core.sparseCheckout", "true")
        scratch._git("config", "core.sparseCheckoutCone", "false")
        scratch._git("checkout", "--quiet", "--detach", commit)
        return scratch

    @classmethod
    def of_files(cls, directory: Path) -> "Scratch":
        """What lies in the directory already."""
        scratch = cls(directory, {})
        scratch._commit("the sources as given")
        return scratch

    def apply(self, patches: Sequence[Mail]) -> AppliedSeries:
        """Commit the patches.  Raises SeriesRejection with every hunk that does not fit."""
        base = self._git("rev-parse", "HEAD")
        try:
            notes = self._am(patches)
        except HostError:
            self._reset(base)
            raise SeriesRejection(self._rejects(patches)) from None
        subjects = self._git("log", "--reverse", "--format=%s", f"{base}..HEAD").splitlines()
        return AppliedSeries(self._git("rev-parse", "HEAD"), subjects, notes)

    def _am(self, patches: Sequence[Mail]) -> list[str]:
        """Commit mails as `git am` does; what is to be told of them.  Raises HostError."""
        notes = []
        for strip, group in groupby(patches, key=lambda mail: mail.strip):
            mails = list(group)
            box = self.directory / ".git/lab.mbox"
            # Each with its mark of a mailbox, which begins a line.
            box.write_bytes(b"".join(mail.for_git() + b"\n" for mail in mails))
            said = self._git("am", "--3way", "--keep-cr", f"-p{strip}", "--patch-format=mbox", box)
            for mail, part in zip(mails, _APPLYING.split(said)[1:], strict=True):
                if _THERE_ALREADY in part:
                    notes.append(f'"{mail.title}" is in the sources already')
                elif _MERGED in part:
                    notes.append(f'"{mail.title}" was applied by a three-way merge')
        return notes

    def _rejects(self, patches: Sequence[Mail]) -> list[Reject]:
        """All that does not fit, when what fits of each patch is applied."""
        found = list[Reject]()
        for number, mail in enumerate(patches, 1):
            before = self._git("rev-parse", "HEAD")
            try:
                self._am([mail])
            except HostError as error:
                patch = self._patch(mail)
                self._reset(before)
                spoilt = {reject.file for reject in found}
                found += self._rejected(number, mail, patch, _merge(error.detail, patch), spoilt)
                self._commit(mail.title)
        return found

    def _patch(self, mail: Mail) -> str:
        """The diff as git read it when `git am` stopped, or as it is in the mail."""
        state = self.directory / ".git/rebase-apply/patch"
        diff = state.read_bytes() if state.exists() else mail.diff
        return diff.decode(errors="surrogateescape")

    def _rejected(
        self, number: int, mail: Mail, patch: str, merge: str, spoilt: set[str]
    ) -> list[Reject]:
        """Apply what fits of a patch; what does not."""

        def reject(file: str, hunk: str, why: str) -> Reject:
            return Reject(number, mail.title, file, hunk, why, merge, bool(hunk) and file in spoilt)

        said = self._apply(mail, patch)
        found = []
        for rej in sorted(self.directory.rglob("*.rej")):
            name = str(rej.relative_to(self.directory)).removesuffix(".rej")
            content = (self.directory / name).read_text(errors="replace")
            for hunk in rejects.hunks(rej.read_text(errors="replace")):
                found.append(reject(name, hunk, rejects.instead(hunk, content)))
            rej.unlink()
        for refused in _REFUSED.finditer(said):
            file, why = refused["file"], refused["why"]
            found.append(reject(file, "", f"{why}{self._elsewhere(file)}"))
        if not found:
            found.append(reject(mail.file.name, "", f"git cannot apply it: {tail(said, 1)}"))
        return found

    def _apply(self, mail: Mail, patch: str) -> str:
        """Apply what fits, leaving NAME.rej of the rest; what git said."""
        file = self.directory / ".git/lab.patch"
        file.write_text(patch, errors="surrogateescape")
        try:
            self._git("apply", "--reject", f"-p{mail.strip}", file, lines=1 << 20)
        except HostError as error:
            return error.detail
        return "it fits as a diff, but not as a mail"

    def _elsewhere(self, file: str) -> str:
        """Files of the same name, if this one is not there, in words."""
        if (self.directory / file).exists():
            return ""
        others = self._git("ls-files", f":(glob)**/{_escaped(Path(file).name)}").splitlines()
        return f"; there is {', '.join(others[:3])}" if others else ""

    def _commit(self, message: str) -> None:
        self._git("add", "--all", "--force", "--sparse", ".")
        self._git("commit", "--quiet", "--allow-empty", f"--message={message}")

    def _reset(self, commit: str) -> None:
        with contextlib.suppress(HostError):
            self._git("am", "--quit")
        self._git("reset", "--quiet", "--hard", commit)

    def _git(self, *words: str | Path, lines: int = DETAIL_LINES) -> str:
        return git(self.directory, *words, env=self._objects, lines=lines)


def _remotes(repository: Path) -> list[tuple[str, str]]:
    """Where a partial clone (git clone --filter) gets what it does not have yet; [] for others."""
    wanted = r"^(remote\..*\.(url|promisor|partialclonefilter)|extensions\.partialclone)$"
    try:
        rows = git(repository, "config", "--null", "--get-regexp", wanted).split("\0")
    except HostError:
        return []
    pairs = [tuple(row.split("\n", 1)) for row in rows if "\n" in row]
    found = [(name, value) for name, value in pairs]
    return found if any(name.endswith(".promisor") for name, _ in found) else []


def _merge(said: str, patch: str) -> str:
    """What came of the three-way merge that `git am` tried, in words."""
    if _NO_BLOB in said:
        blobs = ", ".join(dict.fromkeys(_BLOB.findall(patch)))
        return f"not possible, these sources lack what the patch was made for (blob {blobs})"
    if "Failed to merge" in said:
        return "conflicts as well"
    return "not possible, the patch does not say what it was made for"


def _escaped(file: str) -> str:
    """A file's name as a pattern of git that nothing else fits."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", file)
