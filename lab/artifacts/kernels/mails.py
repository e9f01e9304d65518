# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches as they come by mail: a mailbox, a single mail, or a diff without any header.

Git reads them in the end; what it must not be bothered with is told apart and mended here: covers
and replies, what carried a mail (base64, CRLF, compression), and diffs that are no mail at all.
"""

import bz2
import codecs
import email
import email.header
import email.message
import email.utils
import gzip
import lzma
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UsageError

# As is_from_line() of builtin/mailsplit.c has it: a time, and a year after it.  One after the
# other: a single expression takes as long as the square of a line that is none.
_FROM = re.compile(rb"^From [^\n]{15,}\n", re.MULTILINE)
_TIME = re.compile(rb"\d\d:\d\d(?::\d\d)? ")
_YEAR = re.compile(rb"\d{4}")
_BRACKETS = re.compile(r"^(?:\s*\[[^\]]*\])+")
# Nobody has sent ten thousand patches at once: more digits are something else.
_NUMBER = re.compile(r"(?<![\d/])(?P<number>[0-9]{1,4})/(?P<total>[0-9]{1,4})(?![\d/])")
# [PATCH v2], [PATCHv2], and [v2,1/3] as Patchwork writes it.
_VERSION = re.compile(r"(?:\b|(?<=PATCH))[vV](?P<version>\d+(?:\.\d+)*)\b")
# With the mark of a list before it, as in [dm-devel] Re: [PATCH 1/2].
_REPLY = re.compile(
    r"^\s*(?:\[(?![^\]]*PATCH)[^\]]*\]\s*)*(?:re|aw|fwd?|sv|antw)(?:\[\d+\])?\s*:", re.IGNORECASE
)
_DIFF = re.compile(rb"^(?:diff --git .+|--- \S.*\n\+\+\+ \S.*\n@@ -)", re.MULTILINE)
# Lines of a diff that are git's own and never end in CR, whatever the file is like.
_OWN_LINE = re.compile(rb"^(?:diff --git |--- \S|\+\+\+ \S|@@ -).*$", re.MULTILINE)
_FILES = re.compile(
    rb"^(?:(?:---|\+\+\+) (?P<side>[^\t\n]+)|(?:rename|copy) from (?P<old>.+)"
    rb"|diff --git (?P<pair>.+))",
    re.MULTILINE,
)
_BASE = re.compile(rb"^base-commit: ([0-9a-f]{7,64})\s*$", re.MULTILINE)
_COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}

_LONGEST_LINE = 998
LARGEST = 32 << 20
"""Bytes of a file, unpacked: no series comes near it, and a few KiB can be packed gigabytes."""


@dataclass(frozen=True)
class Mail:
    """One mail, or a diff that stands for one."""

    file: Path
    """Where it was found."""
    subject: str
    """Whole, in one line."""
    headers: tuple[tuple[str, str], ...]
    """What git wants to know of it, as in the mail."""
    body: bytes
    """Without what it was carried in."""
    ident: str = ""
    """Its Message-ID; '' for a diff without a mail."""
    strip: int = 1
    """Components to strip from the names of files, as -p of patch and git."""

    @property
    def title(self) -> str:
        """The subject without what stands in brackets before it."""
        return _BRACKETS.sub("", self.subject).strip()

    @property
    def tag(self) -> str:
        """What stands in brackets before the subject, within what a line of a mail may have
        (RFC 5322, 2.1.1)."""
        found = _BRACKETS.match(self.subject[:_LONGEST_LINE])
        return found[0] if found else ""

    @property
    def is_patch(self) -> bool:
        """Whether there is something to apply, and not quoted or proposed in a reply."""
        return bool(_DIFF.search(self.body)) and not self.is_reply

    @property
    def is_reply(self) -> bool:
        """Whether its subject says so; a reply may propose a diff."""
        return bool(_REPLY.match(self.subject))

    @property
    def number(self) -> int:
        """n of [PATCH n/m]; 0 without one."""
        found = _NUMBER.search(self.tag)
        return int(found["number"]) if found else 0

    @property
    def total(self) -> int:
        """m of [PATCH n/m]; 0 without one."""
        found = _NUMBER.search(self.tag)
        return int(found["total"]) if found else 0

    @property
    def version(self) -> str:
        """2 of [PATCH v2]; 1 without one."""
        found = _VERSION.search(self.tag)
        return found["version"] if found else "1"

    @property
    def base(self) -> str:
        """The commit that `git format-patch --base` says it is for; '' without one."""
        found = _BASE.search(self.body)
        return found[1].decode() if found else ""

    @property
    def diff(self) -> bytes:
        """From its first line that git reads as a diff to the end; b"" without one."""
        found = _DIFF.search(self.body)
        return self.body[found.start() :] if found else b""

    @property
    def files(self) -> set[str]:
        """The files that it changes, by their old and new names."""
        found = set[bytes]()
        for match in _FILES.finditer(self.diff):
            if match["side"]:
                found.add(self._stripped(match["side"].strip()))
            elif match["old"]:
                found.add(match["old"].strip())
            else:
                # Two names of the same length, with a blank between, unless it is renamed.
                first = match["pair"].strip()[: len(match["pair"].strip()) // 2]
                found.add(self._stripped(first))
        return {name.decode(errors="surrogateescape") for name in found if name}

    def for_git(self) -> bytes:
        """The mail as `git am --keep-cr` reads it without having to guess."""
        lines = [f"{name}: {value}" for name, value in self.headers]
        head = "\n".join(["From lab Mon Sep 17 00:00:00 2001", *lines, "", ""])
        return head.encode(errors="replace") + self.body

    def _stripped(self, name: bytes) -> bytes:
        if name == b"/dev/null":
            return b""
        return b"/".join(name.split(b"/")[self.strip :])


def read(file: Path, strip: int = 1) -> list[Mail]:
    """The mails of a file, compressed or not.  Raises UsageError."""
    content = _content(file)
    content = content.removeprefix(codecs.BOM_UTF8).lstrip()
    found = [line for line in _FROM.finditer(content) if _has_date(line[0])]
    if not found or found[0].start():
        return [_mail(file, content, strip)]
    ends = [*(one.start() for one in found[1:]), len(content)]
    return [
        _mail(file, content[one.end() : end], strip) for one, end in zip(found, ends, strict=True)
    ]


def _has_date(line: bytes) -> bool:
    time = _TIME.search(line)
    return bool(time and _YEAR.search(line, time.end()))


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as plain:
            content = plain.read(LARGEST + 1)
        for magic, unpacking in _COMPRESSED.items():
            if content.startswith(magic):
                with unpacking(file) as packed:
                    content = packed.read(LARGEST + 1)
                break
    except OSError as error:
        raise UsageError(f"series {file}: {error.strerror or error}") from error
    except (EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise UsageError(f"series {file}: damaged: {error}", hint="fetch it again") from error
    if len(content) > LARGEST:
        raise UsageError(f"series {file}: more than {LARGEST >> 20} MiB; expected a series")
    return content


def _mail(file: Path, raw: bytes, strip: int) -> Mail:
    message = email.message_from_bytes(raw.lstrip())
    if message["From"] is None or message["Subject"] is None:
        return _bare(file, raw, strip)
    subject, ident = _decoded(message["Subject"]), _line(message.get("Message-ID", ""))
    return Mail(file, subject, _headers(message), _body(message), ident, strip)


def _bare(file: Path, raw: bytes, strip: int) -> Mail:
    """A diff without a mail around it, as quilt has them: called by its first line, or its file."""
    body = without_cr(raw)
    found = _DIFF.search(body)
    before = body[: found.start()].decode(errors="replace") if found else ""
    words = [line.strip() for line in before.splitlines()]
    first = next((line for line in words if line and not _is_mark(line)), file.name)
    subject = re.sub(r"^(?:Subject|Description):\s*", "", first)
    headers = (("From", "lab <lab@localhost>"), ("Subject", f"[PATCH] {subject}"))
    text = body[found.start() :] if found else body
    return Mail(file, subject, headers, b"---\n" + text, strip=strip)


def _is_mark(line: str) -> bool:
    """Whether a line before a diff says nothing of what it does."""
    return bool(re.match(r"(?:Index: |=+$|---$|diff |From:|Author:|Date:|#)", line))


def _headers(message: email.message.Message) -> tuple[tuple[str, str], ...]:
    found = [("Subject", _line(message["Subject"]))]
    sender, date = _line(message["From"]), _line(message.get("Date", ""))
    # git refuses to commit for a person without an address, or at no time.
    found.append(("From", sender if "@" in sender else "lab <lab@localhost>"))
    if email.utils.parsedate_tz(date):
        found.append(("Date", date))
    part = next((one for one in message.walk() if one.get_content_maintype() == "text"), message)
    kind = f'text/plain; charset="{_known(part.get_content_charset("utf-8"))}"'
    # git unfolds flowed lines itself.
    flow = {name: part.get_param(name) for name in ("format", "delsp")}
    kind += "".join(f"; {name}={value}" for name, value in flow.items() if value)
    mime = (("MIME-Version", "1.0"), ("Content-Type", kind), ("Content-Transfer-Encoding", "8bit"))
    return (*found, *mime)


def _known(charset: str) -> str:
    try:
        return codecs.lookup(charset).name
    except (LookupError, ValueError):
        return "utf-8"


def _body(message: email.message.Message) -> bytes:
    """The text of a mail and of what is attached to it, as it was before it was sent."""
    parts = []
    for part in message.walk():
        if part.get_content_maintype() == "text" and part.get_content_subtype() != "html":
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)  # what is no multipart has bytes
            parts.append(without_cr(content))
    return b"\n".join(parts)


def without_cr(text: bytes) -> bytes:
    """The text without the CRs of its way here; those of a patched file's own lines stay.

    A mail's lines end in CRLF on the wire (RFC 5322), and so they do inside base64 (RFC 2045, 6.8).
    Where they were not turned back, git's own lines in the diff end in CRLF too.
    """
    own = _OWN_LINE.findall(text)
    if all(line.endswith(b"\r") for line in own):
        return text.replace(b"\r\n", b"\n")
    return text


def _decoded(value: str) -> str:
    """A header that may be encoded (RFC 2047), in one line."""
    line = _line(value)
    try:
        return str(email.header.make_header(email.header.decode_header(line)))
    except (LookupError, ValueError):
        return line


def _line(value: str) -> str:
    return " ".join(str(value).split())
