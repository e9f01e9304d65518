# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/guest/frames.py and the guest's wire.py: two ends of the same stream."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.guest import frames
from lab.guest.frames import BadFrame, Frame, FrameKind, Frames, Greeted
from tests.unit.agent import load

WIRE = load("wire")

KINDS = [kind for kind in FrameKind if kind is not FrameKind.FILLER]
CHANNELS = st.integers(0, 0xFEFFFFFF)
"""Those that begin like a greeting are no channels."""
FRAMES = st.builds(Frame, CHANNELS, st.sampled_from(KINDS), st.binary(max_size=300))
DIGITS = st.text("0123456789abcdef", min_size=32, max_size=32)

CUTS = st.lists(st.integers(0, 4000), max_size=12)


def pieces(stream: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The stream in pieces, cut at these places; where they are beyond it, in fewer."""
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    yield from (stream[start:end] for start, end in pairwise(places))


def heard(reader: object, *streams: bytes) -> list[tuple[object, ...]]:
    """What the guest makes of these bytes, as (channel, kind, payload)."""
    return [one for data in streams for one in reader.feed(data)]  # type: ignore[attr-defined]


def test_both_ends_mean_the_same() -> None:
    assert [getattr(WIRE, kind.name) for kind in FrameKind] == list(FrameKind)
    for name in ("HELLO", "HERE", "PIECE", "LIMIT", "WINDOW"):
        assert getattr(WIRE, name) == getattr(frames, name), name
    assert WIRE.DIGITS == 32


@given(sent=st.lists(FRAMES, max_size=8), cuts=CUTS)
def test_the_guest_takes_what_the_host_sends_however_it_is_split(
    sent: list[Frame], cuts: list[int]
) -> None:
    reader = WIRE.Reader()
    stream = frames.greeting("0" * 32) + b"".join(frame.bytes() for frame in sent)
    greeting, *found = heard(reader, *pieces(stream, cuts))
    assert greeting == (None, None, b"0" * 32)
    assert found == [(frame.channel, frame.kind, frame.payload) for frame in sent]


@given(sent=st.lists(FRAMES, max_size=8), cuts=CUTS)
def test_the_host_takes_what_the_guest_sends_however_it_is_split(
    sent: list[Frame], cuts: list[int]
) -> None:
    stream = b"".join(WIRE.frame(one.channel, one.kind, one.payload) for one in sent)
    reader = Frames()
    assert [one for data in pieces(stream, cuts) for one in reader.feed(data)] == sent


@given(before=st.lists(FRAMES, max_size=4), after=st.lists(FRAMES, max_size=4), digits=DIGITS,
       cuts=CUTS)  # fmt: skip
def test_a_greeting_between_two_frames_is_heard(
    before: list[Frame], after: list[Frame], digits: str, cuts: list[int]
) -> None:
    reader = WIRE.Reader()
    reader.greeted = True
    halves = [b"".join(frame.bytes() for frame in part) for part in (before, after)]
    stream = frames.greeting(digits).join(halves)
    found = heard(reader, *pieces(stream, cuts))
    assert found[len(before)] == (None, None, digits.encode())
    assert [channel for channel, _, _ in found if channel is not None] == [
        frame.channel for frame in (*before, *after)
    ]


@given(cut=FRAMES, at=st.floats(0, 1, exclude_max=True), digits=DIGITS, after=FRAMES, cuts=CUTS)
def test_after_a_frame_that_was_cut_short_filler_makes_a_greeting_heard(
    cut: Frame, at: float, digits: str, after: Frame, cuts: list[int]
) -> None:
    reader = WIRE.Reader()
    reader.greeted = True
    half = cut.bytes()
    stream = half[: int(at * len(half))] + frames.filler() + frames.greeting(digits)
    found = heard(reader, *pieces(stream + after.bytes(), cuts))
    assert (None, None, digits.encode()) in found
    assert found[-1] == (after.channel, after.kind, after.payload)


@given(digits=DIGITS, before=st.binary(max_size=200), rest=st.binary(max_size=50), cuts=CUTS)
def test_what_comes_before_the_answer_is_of_others_and_what_is_behind_it_is_not(
    digits: str, before: bytes, rest: bytes, cuts: list[int]
) -> None:
    waiting, found = Greeted(digits), None
    stream = before + frames.HERE + digits.encode() + b"\n" + rest
    for data in pieces(stream, cuts):
        found = waiting.feed(data) if found is None else found + data
    assert found == rest


@given(old=DIGITS, new=DIGITS)
def test_the_answer_to_another_greeting_is_none(old: str, new: str) -> None:
    waiting = Greeted(new)
    answer = frames.HERE + old.encode() + b"\n"
    assert (waiting.feed(answer) is None) == (old != new)


@given(noise=st.binary(max_size=2000), cuts=CUTS)
def test_no_bytes_break_the_guests_end(noise: bytes, cuts: list[int]) -> None:
    reader = WIRE.Reader()
    reader.greeted = True
    for _ in heard(reader, *pieces(noise, cuts)):
        pass
    found = heard(reader, frames.filler(), frames.greeting("f" * 32))
    assert (None, None, b"f" * 32) in found


@pytest.mark.parametrize(
    ("kind", "length"), [(max(FrameKind) + 1, 0), (FrameKind.DATA, frames.LIMIT + 1)]
)
def test_what_is_no_frame_is_refused_before_it_is_kept(kind: int, length: int) -> None:
    with pytest.raises(BadFrame, match=f"kind {kind}, {length} bytes"):
        list(Frames().feed(frames._HEADER.pack(1, kind, length)))
