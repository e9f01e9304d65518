# SPDX-License-Identifier: GPL-2.0-or-later
"""Series of patches as people have them: what is read, in what order, and what is left out.

The mails are git's own, changed as mail programs, archives and people change them.
"""

import base64
import bz2
import gzip
import lzma
import os
import quopri
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

from lab.artifacts.kernels import mails, names, series
from lab.artifacts.kernels.ask import KernelArguments, define
from lab.artifacts.kernels.checkout import Checkout
from lab.artifacts.kernels.linux import Linux
from lab.artifacts.kernels.scratch import AppliedSeries
from lab.cli import main
from lab.errors import ProfileError, UsageError
from lab.host import dirs
from tests.unit.builders import git, quiet

LINES = ["one", "two", "three", "four", "five"]
DONE = ["one", "two", "THREE", "four", "FIVE"]


def change(tree: Path, old: str, new: str, subject: str, file: str = "f.c") -> None:
    text = (tree / file).read_bytes()
    assert old.encode() in text
    (tree / file).write_bytes(text.replace(old.encode(), new.encode()))
    git(tree, "commit", "--quiet", "--all", f"--message={subject}")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    tree = tmp_path / "linux"
    tree.mkdir()
    git(tree, "init", "--quiet", "--initial-branch=main")
    (tree / "Kbuild").touch()
    (tree / "f.c").write_text("".join(f"{line}\n" for line in LINES))
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=first")
    return tree


@pytest.fixture
def author(repository: Path) -> Path:
    """Somebody else's clone, with two commits on top."""
    tree = repository.with_name("author")
    git(repository.parent, "clone", "--quiet", repository, tree)
    change(tree, "three", "THREE", "block: Change three")
    change(tree, "five", "FIVE", "block: Change five")
    return tree


def format_patch(author: Path, place: str, *options: str) -> Path:
    target = author.with_name(place)
    git(author, "format-patch", "--quiet", "-o", target, "-2", *options)
    return target


def mailbox(author: Path, *options: str) -> list[bytes]:
    """The mails of a series, each with its mark of a mailbox."""
    place = format_patch(author, "mails", *options)
    found = [file.read_bytes() for file in sorted(place.iterdir())]
    for file in place.iterdir():
        file.unlink()
    return found


def write(directory: Path, name: str, content: bytes) -> Path:
    file = directory.parent / name
    file.write_bytes(content)
    return file


def tried(repository: Path, *given: Path) -> AppliedSeries:
    """What comes of series on the sources."""
    found = series.patches(series.read_all(given))
    return Checkout(repository).try_out("", found, quiet)


def built(repository: Path, *given: Path) -> list[str]:
    """The lines of the file after series."""
    checkout = Checkout(repository)
    checkout.prepare("", quiet, series.patches(series.read_all(given)))
    return (checkout.tree / "f.c").read_text().splitlines()


def asked(repository: Path, *given: str, name: str = "k", rev: str = "") -> list[str]:
    """What `lab kernel add` tells of series."""
    return define(name, KernelArguments(None, None, None, None, repository, rev, given, ()), quiet)[
        1
    ]


def encoded(mail: bytes, how: str) -> bytes:
    """A mail with its text in base64, CRLF inside, or quoted-printable."""
    head, _, body = mail.partition(b"\n\n")
    if how == "base64":
        code = base64.encodebytes(body.replace(b"\n", b"\r\n"))
    else:  # line by line, so that a CR is a character and no end of a line, as with git
        code = b"\n".join(map(quopri.encodestring, body.split(b"\n")))
    mime = "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
    mime += f"Content-Transfer-Encoding: {how}"
    return head + b"\n" + mime.encode() + b"\n\n" + code + b"\n"


def attached(mail: bytes) -> bytes:
    """A mail whose diff is an attachment, with a list's footer below."""
    head, _, body = mail.partition(b"\n\n")
    message = EmailMessage()
    for line in head.decode().splitlines()[1:]:
        name, _, value = line.partition(": ")
        message[name] = value
    message.set_content("It changes a line.\n")
    message.add_attachment(body.decode(), subtype="x-patch", filename="a.patch")
    message.add_attachment("-- \nlist@example.org\n")
    return head.splitlines(keepends=True)[0] + message.as_bytes()


FORMS = {
    "as git writes it": lambda mail: mail,
    "CRLF": lambda mail: mail.replace(b"\n", b"\r\n"),
    "base64 with CRLF inside": lambda mail: encoded(mail, "base64"),
    "base64 with CRLF all over": lambda mail: encoded(mail, "base64").replace(b"\n", b"\r\n"),
    "quoted-printable": lambda mail: encoded(mail, "quoted-printable"),
    "attachment": attached,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_mailbox_is_read_however_it_was_carried(
    repository: Path, author: Path, form: str
) -> None:
    file = write(author, "s.mbox", b"".join(map(FORMS[form], mailbox(author))))
    assert built(repository, file) == DONE


@pytest.mark.parametrize(
    ("suffix", "packed"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_a_packed_mailbox_is_unpacked(
    repository: Path, author: Path, suffix: str, packed: object
) -> None:
    assert callable(packed)
    file = write(author, f"s.mbox.{suffix}", packed(b"".join(mailbox(author))))
    assert built(repository, file) == DONE
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UsageError, match="damaged"):
        series.read(file)


def test_the_crs_of_a_patched_file_stay(repository: Path, author: Path) -> None:
    for tree in (repository, author):
        (tree / "dos.txt").write_bytes(b"a\r\nb\r\nc\r\n")
        git(tree, "add", "dos.txt")
        git(tree, "commit", "--quiet", "--message=dos")
    change(author, "b", "B", "dos: Change b", "dos.txt")
    mails_of_it = mailbox(author, "-1")
    checkout = Checkout(repository)
    for form in ("as git writes it", "CRLF", "base64 with CRLF inside", "quoted-printable"):
        file = write(author, "s.mbox", b"".join(map(FORMS[form], mails_of_it)))
        checkout.prepare("", quiet, list(series.read(file).patches))
        assert (checkout.tree / "dos.txt").read_bytes() == (author / "dos.txt").read_bytes(), form


def test_a_cover_is_what_has_no_diff(repository: Path, author: Path) -> None:
    place = format_patch(author, "out", "-v2", "--cover-letter", "--base=HEAD~2")
    assert min(place.iterdir()).name == "v2-0000-cover-letter.patch"
    found = series.read(place)
    assert [mail.title for mail in found.patches] == ["block: Change three", "block: Change five"]
    assert found.summary == 'out: 2 patches; left out: "[PATCH v2 0/2] *** SUBJECT HERE ***"'
    assert found.base == git(repository, "rev-parse", "HEAD")
    assert built(repository, place) == DONE
    # Counted from 0 it is a patch that is called so.
    numbered = format_patch(author, "zero", "--start-number=0")
    assert min(numbered.iterdir()).name.startswith("0000-")
    assert built(repository, numbered) == DONE


def reply(subject: str, body: str) -> bytes:
    head = "From 1111111111111111111111111111111111111111 Mon Sep 17 00:00:00 2001\n"
    head += "From: Robot <robot@example.org>\nDate: Sun, 29 Nov 2026 02:48:57 +0000\n"
    return f"{head}Subject: {subject}\n\n{body}\n\n".encode()


def test_of_a_thread_the_patches_are_taken_and_the_rest_is_told(
    repository: Path, author: Path
) -> None:
    cover, first, second = mailbox(author, "--cover-letter", "--thread")
    diff = first.decode().partition("---\n")[2]
    quoted = "".join(f"> {line}\n" for line in diff.splitlines())
    robot = 'Patch "block: Change three" has been added to the 6.12-stable tree'
    thread = [
        cover,
        second,
        reply("Re: [PATCH 1/2] block: Change three", quoted),
        reply("[dm-devel] Re: [PATCH 2/2] block: Change five", diff.replace("THREE", "Three")),
        reply(robot, diff),
        first,
        # Over another list, too, which adds a line.
        first.rstrip() + b"\n_____\nanother list\n\n",
    ]
    file = write(author, "t.mbox.gz", gzip.compress(b"".join(thread)))
    assert series.read(file).summary == (
        f't.mbox.gz: 2 patches; left out: "[PATCH 0/2] *** SUBJECT HERE ***", "{robot}", 2 replies'
    )
    assert built(repository, file) == DONE
    # More talk is no other kernel.
    before = series.digest([file])
    file.write_bytes(gzip.compress(b"".join([*thread, reply("Re: it", "Fine.")])))
    assert series.digest([file]) == before
    file.write_bytes(gzip.compress(b"".join(thread).replace(b"FIVE", b"5")))
    assert series.digest([file]) != before


def test_a_maildir_is_a_thread(repository: Path, author: Path) -> None:
    place = author.with_name("maildir")
    for part in ("cur", "new", "tmp"):
        (place / part).mkdir(parents=True)
    first, second = mailbox(author)
    (place / "cur/2:S").write_bytes(first.partition(b"\n")[2])
    (place / "new/1").write_bytes(second.partition(b"\n")[2])
    assert built(repository, place) == DONE


def test_two_versions_in_one_place_are_told(author: Path) -> None:
    place = format_patch(author, "out")
    format_patch(author, "out", "-v2")
    with pytest.raises(UsageError) as caught:
        series.read(place)
    assert caught.value.message == (
        f"{place}: several versions of a series:"
        " v1 (2 in 0001-block-Change-three.patch, 0002-block-Change-five.patch)"
        " and v2 (2 in v2-0001-block-Change-three.patch, v2-0002-block-Change-five.patch)"
    )
    thread = write(author, "t.mbox", b"".join([*mailbox(author), *mailbox(author, "-v3")]))
    with pytest.raises(UsageError, match=r"v1 \(2 in t.mbox\) and v3 \(2 in t.mbox\)"):
        series.read(thread)
    # Of a patch on its own, too.
    one = write(author, "one.mbox", mailbox(author, "-1")[0] + mailbox(author, "-1", "-v4")[0])
    with pytest.raises(UsageError, match=r"v1 .* and v4"):
        series.read(one)


@pytest.mark.parametrize(
    ("tag", "version", "number", "total"),
    [
        ("[PATCH]", "1", 0, 0),
        ("[RFC PATCH v2 03/12]", "2", 3, 12),
        ("[dm-devel] [PATCH v10 1/2]", "10", 1, 2),
        ("[PATCHv3 2/4][next]", "3", 2, 4),
        ("[v2,1/3]", "2", 1, 3),
        ("[PATCH 6.12.y 2/3]", "1", 2, 3),
        ("[PATCH net-next RESEND V4 1/1]", "4", 1, 1),
        ("", "1", 0, 0),
    ],
)
def test_version_and_number_are_in_brackets(
    tmp_path: Path, tag: str, version: str, number: int, total: int
) -> None:
    file = tmp_path / "one.eml"
    file.write_bytes(reply(f"{tag} nvme: Say v7 of [1/9]".strip(), "text"))
    (mail,) = mails.read(file)
    assert (mail.version, mail.number, mail.total) == (version, number, total)
    assert mail.title == "nvme: Say v7 of [1/9]"


def test_numbers_go_before_names(repository: Path, author: Path) -> None:
    place = format_patch(author, "out")
    first, second = sorted(place.iterdir())
    first.rename(place / "z.patch")
    second.rename(place / "a.patch")
    (place / "notes.txt").write_text("nothing")
    assert built(repository, place) == DONE


def test_a_patch_of_ones_own_keeps_its_place(repository: Path, author: Path) -> None:
    place = format_patch(author, "out")
    change(author, "FIVE", "5", "My own")
    git(author, "format-patch", "--quiet", "-1", "--start-number=3", "-o", place)
    assert built(repository, place) == ["one", "two", "THREE", "four", "5"]


LIST = """\
# What we carry.

b.patch    # first
  sub/a.diff -p0
"""


def test_quilt_says_order_and_depth(repository: Path, author: Path) -> None:
    place = author.with_name("quilt") / "patches"
    (place / "sub").mkdir(parents=True)
    first, second = mailbox(author)
    (place / "b.patch").write_bytes(first)
    # Without a mail around it, as `quilt refresh -p0` writes it.
    diff = second.decode().partition("---\n")[2].partition("diff --git")[2].partition("\n")[2]
    diff = diff.partition("\n")[2].replace("--- a/f.c", "--- f.c").replace("+++ b/f.c", "+++ f.c")
    (place / "sub/a.diff").write_text(f"Change the last line\n\nIndex: f.c\n=====\n{diff}")
    (place / "series").write_text(LIST)
    (place / "left.patch").write_bytes(first)
    for given in (place, place.parent, place / "series"):
        found = series.read(given)
        assert [mail.title for mail in found.patches] == [
            "block: Change three",
            "Change the last line",
        ]
        assert built(repository, given) == DONE
    assert tried(repository, place).subjects == ["block: Change three", "Change the last line"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("b.patch\nc.patch\n", "series:2: no file .*c.patch"),
        ("b.patch -R\n", "series:1: -R is no option"),
        ("# nothing\n", "no patches"),
    ],
)
def test_a_list_that_is_wrong_is_told_with_its_line(author: Path, text: str, said: str) -> None:
    place = author.with_name("quilt")
    place.mkdir()
    (place / "b.patch").write_bytes(mailbox(author)[0])
    (place / "series").write_text(text)
    with pytest.raises(UsageError, match=said):
        series.read(place)


def test_who_lists_a_part_of_a_series_means_it(repository: Path, author: Path) -> None:
    place = format_patch(author, "out")
    (place / "series").write_text(f"{sorted(place.iterdir())[0].name}\n")
    assert built(repository, place) == ["one", "two", "THREE", "four", "five"]


def test_a_diff_without_a_mail_is_applied(repository: Path, author: Path) -> None:
    plain = write(author, "plain.patch", git(author, "diff", "HEAD~2").encode() + b"\n")
    assert series.read(plain).summary == 'plain.patch: 1 patch ("plain.patch")'
    assert tried(repository, plain).subjects == ["plain.patch"]
    assert built(repository, plain) == DONE
    for name, text in (("a.patch", "only text\n"), ("b.mbox", "From: a@b\nSubject: x\n\ntext\n")):
        with pytest.raises(UsageError, match="no patches"):
            series.read(write(author, name, text.encode()))


def test_an_incomplete_series_is_refused(repository: Path, author: Path) -> None:
    change(author, "one", "ONE", "block: Change one")
    first, _, third = mailbox(author, "-3")
    file = write(author, "part.mbox", first + third)
    with pytest.raises(UsageError, match=r"part\.mbox: the series is incomplete, 2/3 is missing"):
        series.read_all([file])
    many = [first.replace(b"1/3", f"{number}/9".encode()) for number in (1, 4, 8)]
    for number, mail in enumerate(many):
        many[number] = mail.replace(b"Change three", f"Change {number}".encode())
    with pytest.raises(UsageError, match="2 to 3/9, 5 to 7/9, 9/9 is missing"):
        series.read_all([write(author, "many.mbox", b"".join(many))])
    with pytest.raises(UsageError, match="2/3 is missing"):
        Linux(source=repository, series=(file,)).inputs(quiet)


def test_patches_of_one_series_may_be_given_one_by_one(repository: Path, author: Path) -> None:
    first, second = sorted(format_patch(author, "out").iterdir())
    assert built(repository, first, second) == DONE
    with pytest.raises(UsageError, match="2/2 is missing"):
        series.read_all([first])
    with pytest.raises(UsageError, match="2/2 is missing"):
        series.read_all([first, first])


def test_two_patches_of_one_number_are_told(author: Path) -> None:
    first, second = mailbox(author)
    file = write(author, "twice.mbox", first + second + second.replace(b"FIVE", b"5"))
    with pytest.raises(UsageError, match="two different patches are called 2/2"):
        series.read(file)
    mixed = write(author, "mixed.mbox", first + second.replace(b"2/2", b"3/3"))
    with pytest.raises(UsageError, match="of 2 and of 3 patches"):
        series.read(mixed)


B4 = """\
#!/bin/sh
# What b4 0.12 does with an incomplete thread.
cp {mbox} "$3/20261129_person.mbx"
echo 'ERROR: missing [2/3]!' >&2
"""


def test_what_b4_could_not_complete_is_refused(
    repository: Path, author: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(author, "one", "ONE", "block: Change one")
    first, _, third = mailbox(author, "-3")
    program = author.with_name("bin") / "b4"
    program.parent.mkdir()
    program.write_text(B4.format(mbox=write(author, "part.mbox", first + third)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(UsageError) as caught:
        asked(repository, "20261129-x@example.org")
    assert caught.value.message == (
        "series 20261129-x@example.org: the series is incomplete, 2/3 is missing"
    )
    assert list(dirs.state("kernels").iterdir()) == []


def test_what_is_asked_for_is_told_and_kept_only_if_it_fits(
    repository: Path, author: Path, tmp_path: Path
) -> None:
    place = format_patch(author, "out", "--cover-letter")
    told = asked(repository, str(place))
    assert told == ['out: 2 patches; left out: "[PATCH 0/2] *** SUBJECT HERE ***"']
    assert "k" in names.BOOK.known()
    with pytest.raises(UsageError, match="no commit v9"):
        asked(repository, str(place), name="other", rev="v9")
    change(repository, "three", "3", "Change it first")
    with pytest.raises(ProfileError):
        asked(repository, str(place), name="other")
    assert "other" not in names.BOOK.known()


def test_a_fetched_series_goes_with_its_kernel(
    repository: Path, author: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = author.with_name("bin") / "b4"
    program.parent.mkdir()
    mbox = write(author, "whole.mbox", b"".join(mailbox(author)))
    program.write_text(f'#!/bin/sh\ncp {mbox} "$3/20261129_person.mbx"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert asked(repository, "20261129-x@example.org") == ["20261129_person.mbx: 2 patches"]
    mbox.unlink()
    # What is fetched for another kernel of this name would be that one's.
    with pytest.raises(UsageError, match="known already"):
        asked(repository, "20261129-y@example.org")
    assert names.fetched("k").is_dir()
    names.forget("k")
    assert list(dirs.state("kernels").iterdir()) == []


# Each would change what is applied, or how git words what the lab reads.
CONFIGURATION = """\
[apply]
\twhitespace = error
\tignoreWhitespace = change
[core]
\tautocrlf = true
\thooksPath = {hooks}
\tattributesFile = {attributes}
\tsparseCheckout = true
\tquotePath = true
[color]
\tui = always
[commit]
\tgpgSign = true
[gpg]
\tprogram = /bin/false
[init]
\ttemplateDir = {hooks}
\tdefaultBranch = trunk
[am]
\tkeepcr = false
\tthreeWay = true
[user]
\tuseConfigOnly = true
[diff]
\tnoprefix = true
[log]
\tshowSignature = true
[i18n]
\tcommitEncoding = ISO-8859-1
"""


@pytest.mark.parametrize("where", ["global", "home", "xdg", "repository", "environment"])
def test_the_users_git_changes_nothing(
    repository: Path,
    author: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    # White space that apply.whitespace = error would refuse, in a file that eol=crlf would change.
    change(author, "one", "one \t", "block: Leave white space")
    place = format_patch(author, "out", "-3")
    for name in ("pre-applypatch", "applypatch-msg", "post-checkout", "pre-commit"):
        hook = author.with_name("hooks") / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
    attributes = author.with_name("attributes")
    attributes.write_text("*.c text eol=crlf\n")
    configuration = author.with_name("gitconfig")
    text = CONFIGURATION.format(hooks=author.with_name("hooks"), attributes=attributes)
    configuration.write_text(text)
    if where == "global":
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    elif where == "home":
        (home / ".gitconfig").write_text(text)
    elif where == "xdg":
        (home / ".config/git").mkdir(parents=True)
        (home / ".config/git/config").write_text(text)
        (home / ".config/git/attributes").write_text(attributes.read_text())
    elif where == "repository":
        with (repository / ".git/config").open("a") as file:
            file.write(text)
    else:
        monkeypatch.setenv("GIT_DIR", str(author / ".git"))
        monkeypatch.setenv("GIT_WORK_TREE", str(author))
        monkeypatch.setenv("GIT_INDEX_FILE", str(author / ".git/index"))
        monkeypatch.setenv("GIT_OBJECT_DIRECTORY", "/nowhere")
        monkeypatch.setenv("GIT_AUTHOR_DATE", "never")
        monkeypatch.setenv("GIT_TRACE", "1")
        monkeypatch.setenv("LANGUAGE", "de")
        monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    changed = ["one \t", *DONE[1:]]
    assert tried(repository, place).subjects[-1] == "block: Leave white space"
    assert built(repository, place) == changed
    directory = repository.with_name("plain")
    directory.mkdir()
    for name in ("Kbuild", "f.c"):
        (directory / name).write_bytes((repository / name).read_bytes())
    checkout = Checkout(directory)
    checkout.prepare("", quiet, list(series.read(place).patches))
    assert (checkout.tree / "f.c").read_bytes().decode().split("\n")[:-1] == changed


def test_the_command_line_tells_what_it_left_out_and_forgets_what_does_not_fit(
    repository: Path,
    author: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = format_patch(author, "out", "--cover-letter")
    options = ["--source", str(repository), "--series", str(place)]

    def lab(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["lab", "kernel", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    assert lab("add", "copy", *options) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"copy: {repository} + out",
        '  out: 2 patches; left out: "[PATCH 0/2] *** SUBJECT HERE ***"',
    ]
    change(repository, "three", "3", "Change it first")
    assert lab("add", "other", *options) == 2
    said = capsys.readouterr().err
    assert "lab: " in said and "  |      3 ! 3" in said
    assert list(names.BOOK.added()) == ["copy"]
