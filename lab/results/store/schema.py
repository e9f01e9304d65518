# SPDX-License-Identifier: GPL-2.0-or-later
"""The store's tables as they are now; how they came to be is in migrations/versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Double, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {datetime: DateTime(timezone=True), dict[str, str]: JSON}  # noqa: RUF012


class RunRow(Base):
    """A run that has ended.  Its evidence stays in its directory, on the host that it ran on."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    started: Mapped[datetime]
    """UTC."""
    seconds: Mapped[float] = mapped_column(Double)
    suite: Mapped[str] = mapped_column(String(64))
    profile: Mapped[str] = mapped_column(String(64))
    kernel: Mapped[str] = mapped_column(String(255))
    """The reference in the profile, such as `debian` or the path of a tree."""
    release: Mapped[str] = mapped_column(String(255))
    """What `uname -r` said."""
    qemu: Mapped[str] = mapped_column(String(255))
    """Its version, as it says itself."""
    qemu_name: Mapped[str] = mapped_column(String(255))
    """The reference in the profile, such as `host` or `q11`."""
    accelerator: Mapped[str] = mapped_column(String(16))
    options: Mapped[str] = mapped_column(Text)
    """What the suite was asked for, as JSON with sorted keys: equal text, equal cases."""
    error: Mapped[str] = mapped_column(Text)
    """What the lab itself failed at; empty if nothing."""
    plant: Mapped[str] = mapped_column(String(64))
    """The defect that was planted on purpose; empty if none."""
    boot: Mapped[float | None] = mapped_column(Double)
    """Seconds that its guest took to boot; None if it was up before, or an older lab ran it."""
    cases: Mapped[list["CaseRow"]] = relationship(back_populates="run", passive_deletes=True)

    __table_args__ = (Index("runs_by_what", "suite", "profile", "release"),)


class CaseRow(Base):
    """One case of a run, carried out once."""

    __tablename__ = "cases"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(512), index=True)
    attempt: Mapped[int]
    """Which of several repetitions in its run, from 1 on."""
    status: Mapped[str] = mapped_column(String(16))
    """pass, fail, notrun, fell back, hung or crashed."""
    seconds: Mapped[float] = mapped_column(Double)
    reason: Mapped[str] = mapped_column(Text)
    """Why it did not pass, in a line."""
    known: Mapped[str] = mapped_column(Text)
    """Why it is expected not to pass; empty where it is expected to."""
    rules: Mapped[dict[str, str]]
    """Rules of the contract that apply: '' where one holds, else what shows that it does not."""
    run: Mapped[RunRow] = relationship(back_populates="cases")


class NightRow(Base):
    """One execution of a plan, however often it was interrupted and resumed."""

    __tablename__ = "nights"

    id: Mapped[str] = mapped_column(String(96), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    plan: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    document: Mapped[str] = mapped_column(Text)
    """The plan as JSON."""
    started: Mapped[datetime]
    ended: Mapped[datetime | None]
    version: Mapped[str] = mapped_column(String(64), default="")
    """Of the lab that left its runs to workers; empty where it carried them out itself."""
    jobs: Mapped[list["JobRow"]] = relationship(
        back_populates="night", order_by="JobRow.position", passive_deletes=True
    )


_LEFT = text("state in ('pending', 'running')")


class JobRow(Base):
    """One run that a night's plan asks for."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    night_id: Mapped[str] = mapped_column(ForeignKey("nights.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    """In the order in which they are carried out, from 1 on; its place in the night's directory."""
    kernel: Mapped[str] = mapped_column(String(255))
    qemu_name: Mapped[str] = mapped_column(String(255))
    """As `--qemu` takes it; empty for that of the profile."""
    baseline: Mapped[bool]
    profile: Mapped[str] = mapped_column(String(64))
    suite: Mapped[str] = mapped_column(String(64))
    args: Mapped[str] = mapped_column(Text)
    """The suite's arguments as a JSON list."""
    repetition: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    """pending, running (on a worker), done, failed (the lab did) or left out (of the budget)."""
    run_id: Mapped[str | None] = mapped_column(String(32))
    seconds: Mapped[float] = mapped_column(Double)
    said: Mapped[str] = mapped_column(Text)
    """What the lab failed with."""
    host: Mapped[str] = mapped_column(String(255), default="")
    """The worker that has it, or has carried it out; empty where nobody else could."""
    attempts: Mapped[int] = mapped_column(default=0)
    """How often workers have begun it.  Only who began it last may say how it ended."""
    lost: Mapped[list[str]] = mapped_column(JSON, default=list)
    """The workers that had it before, and were lost."""
    needs: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """What a host must have to carry it out."""
    expected: Mapped[float | None] = mapped_column(Double)
    """Seconds that runs like it took before; None if there was none."""
    task: Mapped[int | None] = mapped_column(BigInteger, index=True)
    """In the queue of the workers; None where it is in none."""
    night: Mapped[NightRow] = relationship(back_populates="jobs")

    # What is left of a night is asked for whenever a job ends.
    __table_args__ = (Index("jobs_left", "night_id", postgresql_where=_LEFT, sqlite_where=_LEFT),)


class WorkerRow(Base):
    """A host that carries runs out for others, under the name that it goes by."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    identity: Mapped[str] = mapped_column(String(64))
    """Drawn once for each name and state directory: two hosts of one name are told apart by it."""
    version: Mapped[str] = mapped_column(String(64))
    """Of its lab."""
    guests: Mapped[int]
    """Runs at a time."""
    offer: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What it has that runs may need."""
    says: Mapped[str] = mapped_column(Text, default="")
    """Why it begins nothing just now; empty if it does."""
    started: Mapped[datetime]
    seen: Mapped[datetime]
    """By the database's clock."""
    swept: Mapped[datetime | None]
    """When it last looked for workers that are lost, likewise: one of all is enough."""
    lease: Mapped[float] = mapped_column(Double)
    """Seconds without a word from it, after which it is taken for lost."""
    queue_id: Mapped[int | None] = mapped_column(BigInteger)
    """Its number among those who take from the queue; None if it has ended as it should."""
