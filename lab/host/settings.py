# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's settings: config.yaml in the lab's configuration directory.

suites:
  fstests:
    tree: ~/src/xfstests      # a built tree
  blktests:
    tree: ~/src/blktests
  cryptsetup:
    tree: ~/src/cryptsetup
debian:
  accept_expired: true        # packages of a mirror whose Release file is out of date
notify:                       # at the end of a night, see docs/nightly.md
  mail:
    to: [storage-tests@example.org]
    sender: lab@example.org
  webhook:
    url_file: ~/.config/lab/webhook-url
worker:                       # when `lab worker` begins no run
  load: 1.0                   # what others put on each processor, averaged over a minute
  memory: 512M                # to be left beside the run's guests
  disk: 5G                    # to be free in the state and cache directories
  lease: 30                   # seconds without a word after which a worker is taken for lost
dumps:                        # memory of guests that crash or hang in a run, see docs/debugging.md
  take: true
  memory: 8G                  # of guests with more none is taken
  size: 1G                    # of one, packed
  run: 3                      # of one run
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)

from lab import yamlfile
from lab.host import dirs

FILE = "config.yaml"

_STRICT = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _absolute(path: Path) -> Path:
    path = dirs.expanded(path)
    if not path.is_absolute():
        raise ValueError(f"{path} is relative; expected an absolute path, or one from ~")
    return path


Tree = Annotated[Path, AfterValidator(_absolute)]


class SuiteSettings(BaseModel):
    """What the user set for a suite that comes from elsewhere."""

    model_config = _STRICT

    tree: Tree | None = None
    """A built tree of it."""


class Suites(BaseModel):
    """Settings by suite."""

    model_config = _STRICT

    fstests: SuiteSettings = SuiteSettings()
    blktests: SuiteSettings = SuiteSettings()
    cryptsetup: SuiteSettings = SuiteSettings()


class DebianSettings(BaseModel):
    """How packages of Debian are fetched, for images, kernels and tools alike."""

    model_config = _STRICT

    accept_expired: bool = False
    """Take a Release file whose Valid-Until has passed; its signature is checked all the same."""


class Transport(StrEnum):
    """How a connection to an SMTP server is protected."""

    STARTTLS = "starttls"
    """From the first command on that matters (RFC 3207)."""
    TLS = "tls"
    """From the first byte on (RFC 8314)."""
    NONE = "none"


_ADDRESS = r"^[^\s@<>,;:\"]+@[^\s@<>,;:\"]+$"
Address = Annotated[str, Field(pattern=_ADDRESS)]


class SmtpSettings(BaseModel):
    """The server that takes mail."""

    model_config = _STRICT

    host: str = Field(min_length=1)
    port: int = Field(587, ge=1, le=65535)
    transport: Transport = Transport.STARTTLS
    user: str = ""
    """Empty: without a password."""
    password_file: Tree | None = None
    """Where LAB_SMTP_PASSWORD does not have it."""

    @model_validator(mode="after")
    def _protected(self) -> Self:
        if self.user and self.transport is Transport.NONE:
            raise ValueError("a password would go over the network for all to read: use starttls")
        return self


class MailSettings(BaseModel):
    """Who gets a mail at the end of a night."""

    model_config = _STRICT

    to: tuple[Address, ...] = Field(min_length=1)
    sender: Address
    smtp: SmtpSettings | None = None
    """None: sendmail takes it."""
    sendmail: Path = Path("sendmail")
    """A program that takes a mail on stdin and recipients as arguments."""


class WebhookSettings(BaseModel):
    """Where a night's end is posted to."""

    model_config = _STRICT

    url: str = Field("", pattern="^(https?://.+)?$")
    url_file: Tree | None = None
    """For a URL that is a secret itself, where LAB_WEBHOOK_URL does not have it."""
    secret_file: Tree | None = None
    """What the body is signed with, where LAB_WEBHOOK_SECRET does not have it."""


class Occasion(StrEnum):
    """When somebody is told."""

    ALWAYS = "always"
    NEWS = "news"
    """When something became worse, or the lab failed."""


class NotifySettings(BaseModel):
    """Who is told of a night's end, and when."""

    model_config = _STRICT

    mail: MailSettings | None = None
    webhook: WebhookSettings | None = None
    when: Occasion = Occasion.ALWAYS
    pages: str = Field("", pattern="^(https?://.+)?$")
    """Where a web server has the pages, if one has; to point to that of the night."""


class WorkerSettings(BaseModel):
    """When a worker begins no run, and when it is taken for lost."""

    model_config = _STRICT

    load: float = Field(1.0, gt=0)
    """Processes that others have ready on each processor, averaged over a minute."""
    memory: ByteSize = ByteSize(512 << 20)
    """Bytes to be left beside the guests of the run."""
    disk: ByteSize = ByteSize(5 << 30)
    """Bytes to be free in the state and the cache directory."""
    lease: float = Field(30.0, ge=1)
    """Seconds without a word from it; it gives one three times as often."""


class DumpSettings(BaseModel):
    """What is kept of the memory of guests that crash or hang."""

    model_config = _STRICT

    take: bool = True
    """Whether a run takes dumps by itself."""
    memory: ByteSize = ByteSize(8 << 30)
    """Bytes of RAM; of a guest with more no dump is taken."""
    size: ByteSize = ByteSize(1 << 30)
    """Bytes of one dump, packed; a larger one is not kept."""
    run: int = Field(3, ge=0)
    """Dumps that a run takes."""


class Settings(BaseModel):
    """The whole file."""

    model_config = _STRICT

    suites: Suites = Suites()
    debian: DebianSettings = DebianSettings()
    notify: NotifySettings = NotifySettings()
    worker: WorkerSettings = WorkerSettings()
    dumps: DumpSettings = DumpSettings()


_READER = TypeAdapter(Settings)


def load() -> Settings:
    """The settings, or the defaults where there is no file.

    Raises ProfileError that names the file, the line and the key that is wrong.
    """
    path = dirs.config(FILE)
    return yamlfile.read(path, _READER, empty={}) if path.exists() else Settings()
