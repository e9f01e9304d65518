"""A series of patches: a mailbox, a directory of patches, or a message-id that b4 fetches."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from lab.build.kernels.git import git
from lab.errors import HostError, ProfileError, UsageError
from lab.host.command import run

_SUFFIXES = (".patch", ".mbox", ".mbx", ".eml")
_SUBJECT = re.compile(r"^Subject: (?P<text>.*)$", re.MULTILINE)
# `oldpos` of the hunk, says apply_one_fragment() in git's apply.c.
_HUNK = re.compile(r"^error: patch failed: (?P<file>.*):(?P<line>\d+)$", re.MULTILINE)
_FILE = re.compile(r"^error: (?P<file>.*): (?P<why>[^:]*)$", re.MULTILINE)
_HINT = "rebase the series, or name the commit that it is for with --rev"


def mailboxes(path: Path) -> list[Path]:
    """The files of a series in the order in which they are applied.  Raises UsageError."""
    if path.is_file():
        return [path]
    found = sorted(file for file in _entries(path) if file.suffix in _SUFFIXES)
    # git format-patch writes the cover letter as number 0; it has nothing to apply.
    found = [file for file in found if not file.name.startswith("0000-")]
    if not found:
        raise UsageError(
            f"{path}: no patches", hint=f"a mailbox, or a directory of {', '.join(_SUFFIXES)} files"
        )
    return found


def digest(series: Sequence[Path]) -> str:
    """A hash of everything in several series, for the key of a kernel."""
    whole = hashlib.sha256()
    for path in series:
        for file in mailboxes(path):
            whole.update(file.read_bytes() + b"\0")
    return whole.hexdigest()


def apply(tree: Path, series: Sequence[Path]) -> list[str]:
    """Commit the patches to a checkout; return their subjects.

    Raises ProfileError with the patch, its hunk and the place that does not fit.
    """
    if not series:
        return []  # And there need be no repository.
    base = git(tree, "rev-parse", "HEAD")
    for path in series:
        try:
            git(tree, "am", "--quiet", "--keep-cr", *mailboxes(path))
        except HostError as error:
            raise _refusal(tree, path, error) from error
    return git(tree, "log", "--reverse", "--format=%s", f"{base}..HEAD").splitlines()


def fetch(message_id: str, directory: Path) -> Path:
    """Fetch a series from its list's archive with b4; the mailbox.  Raises HostError."""
    directory.mkdir(parents=True, exist_ok=True)
    run(["b4", "am", "--outdir", directory, message_id], deadline=120)
    found = sorted(directory.glob("*.mbx"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise HostError(f"b4 am {message_id}: no mailbox came of it")
    return found[-1]


def _refusal(tree: Path, path: Path, error: HostError) -> ProfileError:
    """What `git am` said, with the number of the patch and the hunk it means."""
    said = error.detail
    # The state of a `git am` that stopped, as builtin/am.c keeps it.
    state = tree / git(tree, "rev-parse", "--git-path", "rebase-apply")
    hunk, file = _HUNK.search(said), _FILE.search(said)
    if not (state / "info").exists() or not file:
        return ProfileError(
            f"{path}: git am cannot read it",
            detail=said,
            hint="patches must be mails, as git format-patch and b4 am write them",
        )
    number = (state / "next").read_text().strip()
    subject = _SUBJECT.search((state / "info").read_text())
    message = f'{path}: patch {number}, "{subject["text"] if subject else ""}", does not apply: '
    if not hunk:
        return ProfileError(f"{message}{file['file']}: {file['why']}", hint=_HINT)
    text = hunk_at((state / "patch").read_text(errors="replace"), hunk["file"], int(hunk["line"]))
    heading = text.partition("\n")[0]
    return ProfileError(f"{message}{hunk['file']}, hunk {heading}", detail=text, hint=_HINT)


def hunk_at(patch: str, file: str, line: int) -> str:
    """The hunk of `patch` for `file` whose old side starts at `line`; '' if there is none."""
    inside, taken = False, list[str]()
    for row in patch.splitlines():
        if row.startswith("diff --git "):
            inside = row.split()[2] == f"a/{file}"
        if row.startswith(("@@ ", "diff --git ")):
            if taken:
                break
            if inside and re.match(rf"@@ -{line}[, ]", row):
                taken.append(row)
        elif taken:
            taken.append(row)
    return "\n".join(taken)


def _entries(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError as error:
        raise UsageError(f"series {path}: {error.strerror}") from error
