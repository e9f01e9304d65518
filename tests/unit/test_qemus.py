# SPDX-License-Identifier: GPL-2.0-or-later
"""What a QEMU can be called, how one from a package is started, and whose answers are kept."""

from pathlib import Path

import pytest

from lab.artifacts import qemu as qemus
from lab.artifacts.qemus import names, package
from lab.artifacts.qemus.package import QemuPackage
from lab.artifacts.qemus.source import HostQemu, QemuProgram, QemuTree
from lab.errors import HostError, UsageError
from lab.guest.guests import peer_profile
from lab.host import dirs, qemu, qemu_answers
from lab.host.command import run
from lab.profile.load import load
from tests.unit.builders import quiet


def install(path: Path, said: str = "11.1.3 (Debian 1:11.1.3+ds-1)", lists: str = "copy") -> Path:
    """A program that answers as QEMU does; `lists` is a property of its devices, '' for none."""
    returned = f'[{{"name": "{lists}"}}]' if lists else "[]"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"""#!/bin/sh
echo x >>{path}.asked
case $1 in --version) echo 'QEMU emulator version {said}'; exit;; esac
while [ $# -gt 1 ] && [ "$1" != -pidfile ] && [ "$1" != -qmp ]; do shift; done
case $1 in
-pidfile) echo $$ >"$2"; sleep 20 & wait;;
esac
while read -r line; do
    case $line in
    *device-list*) echo '{{"return": {returned}, "id": '"${{line##*\\"id\\": }}";;
    esac
done
"""
    )
    path.chmod(0o755)
    return path


def asked(program: Path) -> int:
    return Path(f"{program}.asked").read_text().count("x")


@pytest.mark.parametrize(
    ("reference", "source"),
    [
        ("host", HostQemu()),
        ("qemu-system-x86", QemuPackage(package="qemu-system-x86", suite="trixie")),
        ("qemu-system-x86/sid", QemuPackage(package="qemu-system-x86", suite="sid")),
        (
            "qemu-system-x86/trixie-backports=1:11.1.3+ds-1~bpo13+1",
            QemuPackage(
                package="qemu-system-x86", suite="trixie-backports",
                version="1:11.1.3+ds-1~bpo13+1",
            ),
        ),
    ],
)  # fmt: skip
def test_what_a_qemu_can_be_called(reference: str, source: object) -> None:
    assert names.resolve(reference) == source


def test_a_path_is_a_program_or_a_tree_wherever_the_lab_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = install(tmp_path / "src/build/qemu-system-x86_64")
    monkeypatch.chdir(tmp_path)
    assert names.resolve(names.canonical("./src")) == QemuTree(tree=tmp_path / "src")
    assert names.canonical("src/build/qemu-system-x86_64") == str(program)
    assert names.resolve(str(program)) == QemuProgram(path=program)
    for tree in ("src", "src/build"):
        assert QemuTree(tree=tmp_path / tree).program(quiet) == program
    with pytest.raises(UsageError, match="no QEMU there"):
        QemuTree(tree=tmp_path).program(quiet)


@pytest.mark.parametrize("reference", ["q99", "qemu-system-x86/SID", "/nowhere/qemu", "bash"])
def test_what_nobody_knows_is_a_usage_error(reference: str) -> None:
    with pytest.raises(UsageError, match=r"no QEMU|no package"):
        names.resolve(reference)


def test_a_qemu_is_tried_before_it_gets_a_name(tmp_path: Path) -> None:
    good = QemuProgram(path=install(tmp_path / "good"))
    assert qemus.add("mine", good, quiet).startswith("11.1.3")
    assert names.resolve("mine") == good
    with pytest.raises(UsageError, match=r"known already.*lab qemu rm mine"):
        qemus.add("mine", QemuProgram(path=install(tmp_path / "other")), quiet)
    with pytest.raises(UsageError, match=r"known already.*that one ships"):
        qemus.add("host", good, quiet)
    with pytest.raises(HostError, match="no device nvme"):
        qemus.add("lame", QemuProgram(path=install(tmp_path / "lame", lists="")), quiet)
    none = tmp_path / "none"
    none.write_text("#!/bin/sh\necho true '(GNU coreutils) 9.1'\n")
    none.chmod(0o755)
    with pytest.raises(HostError, match="no QEMU: to --version it says 'true"):
        qemus.add("none", QemuProgram(path=none), quiet)
    assert sorted(names.BOOK.known()) == ["host", "mine"]
    (named,) = (one for one in qemus.listing() if one.name == "mine")
    assert named.version.startswith("11.1.3")
    assert qemus.remove(named) == []
    assert sorted(names.BOOK.known()) == ["host"]


def test_the_hosts_is_that_of_lab_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = install(tmp_path / "mine")
    monkeypatch.setenv("LAB_QEMU", str(program))
    assert names.resolve("host").program(quiet) == program


def unpacked(root: Path) -> None:
    """The files of a package and of what it depends on, as far as a launcher needs them."""
    library = root / "usr/lib/x86_64-linux-gnu"
    for name in (
        "usr/bin/qemu-system-x86_64", "usr/bin/qemu-system-i386", "usr/bin/ls",
        "usr/libexec/coreutils/libstdbuf.so", "lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib/x86_64-linux-gnu/pulseaudio/libpulsecommon-17.0.so",
        "usr/lib/x86_64-linux-gnu/qemu/accel-qtest.so",
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    loader = root / "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    loader.write_text('#!/bin/sh\necho "$LD_PRELOAD"\nprintf "%s\\n" "$@"\n')
    loader.chmod(0o755)
    (library / "ld-linux-x86-64.so.2").symlink_to(loader)


def test_a_package_is_started_by_its_own_loader_and_libraries(tmp_path: Path) -> None:
    # A blank in the path: somebody's cache directory has one.
    place = tmp_path / "my cache"
    root = place / "root"
    unpacked(root)
    package.keep_what_runs(root, "qemu/sid")
    assert [path.name for path in (root / "usr/bin").iterdir()] == ["qemu-system-x86_64"]
    launcher = place / "qemu-system-x86_64"
    launcher.write_text(package.script(root, "qemu/sid"))
    launcher.chmod(0o755)
    said = run([launcher, "-machine", "q 35"], deadline=20).splitlines()
    library = f"{root}/usr/lib/x86_64-linux-gnu"
    assert said == [
        "", "--inhibit-cache", "--library-path",
        f"{library}:{library}/pulseaudio:{root}/lib/x86_64-linux-gnu",
        f"{root}/usr/bin/qemu-system-x86_64", "-L", f"{root}/usr/share/qemu",
        "-L", f"{root}/usr/share/seabios", "-machine", "q 35",
    ]  # fmt: skip
    # What stdbuf preloads is taken from the package, by its bare name.
    words = ["env", "LD_PRELOAD=/nowhere/libstdbuf.so", str(launcher)]
    assert run(words, deadline=20).splitlines()[0] == "libstdbuf.so"
    assert (root / "usr/lib/x86_64-linux-gnu/libstdbuf.so").is_file()


def test_a_package_without_qemu_is_refused(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    with pytest.raises(HostError, match="bash/sid: no qemu-system-x86_64 in that package"):
        package.keep_what_runs(tmp_path, "bash/sid")


def test_answers_are_kept_until_the_program_changes(tmp_path: Path) -> None:
    program = install(tmp_path / "qemu", lists="old")
    assert qemu.properties(str(program), "nvme") == {"old"}
    before = asked(program)
    assert qemu.properties(str(program), "nvme") == {"old"}
    # A script is asked which program it runs, but not for what that has answered.
    assert asked(program) == before + 1
    install(program, lists="newer")
    assert qemu.properties(str(program), "nvme") == {"newer"}


def test_several_qemus_do_not_drive_out_each_other(tmp_path: Path) -> None:
    programs = {name: install(tmp_path / name, lists=name) for name in ("one", "two")}
    for name, program in programs.items():
        assert qemu.properties(str(program), "nvme") == {name}
    before = {name: asked(program) for name, program in programs.items()}
    for name, program in programs.items():
        assert qemu.properties(str(program), "nvme") == {name}
        assert asked(program) == before[name] + 1
    assert len(list(dirs.cache("qemu-answers").iterdir())) == 2


def test_a_wrapper_that_leads_elsewhere_is_another_qemu(tmp_path: Path) -> None:
    # What runs is an interpreter of its own, so that it is seen among the mapped files.
    shells = {name: tmp_path / name / "sh" for name in ("v1", "v2")}
    for name, shell in shells.items():
        install(tmp_path / name / "qemu", lists=name)
        shell.write_bytes(Path("/bin/sh").read_bytes())
        shell.chmod(0o755)
    current, wrapper = tmp_path / "current", tmp_path / "wrapper"
    current.symlink_to("v1")
    wrapper.write_text(f'#!/bin/sh\nexec {current}/sh {current}/qemu "$@"\n')
    wrapper.chmod(0o755)
    assert qemu.properties(str(wrapper), "nvme") == {"v1"}
    current.unlink()
    current.symlink_to("v2")
    assert qemu.properties(str(wrapper), "nvme") == {"v2"}


def test_a_qemu_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    program = tmp_path / "qemu"
    program.write_text("#!/bin/sh\necho 'libfoo.so.1: cannot open it' >&2\nexit 127\n")
    program.chmod(0o755)
    with pytest.raises(HostError, match="does not start: exit status 127") as caught:
        qemu_answers.of(str(program))
    assert "libfoo.so.1" in caught.value.detail


def test_a_peer_runs_in_the_qemu_of_its_profile() -> None:
    profile = load("nvmet-tcp", ['machine.qemu="q11"'])
    assert peer_profile(profile).machine.qemu == "q11"
    other = load("nvmet-tcp", ['machine.qemu="q11"', 'peer.machine.qemu="q10"'])
    assert peer_profile(other).machine.qemu == "q10"
