# SPDX-License-Identifier: GPL-2.0-or-later
"""Mail: plain text, to sendmail or an SMTP server."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from pathlib import Path

from lab.errors import HostError, LabError, UsageError
from lab.farm.notify.secret import take
from lab.host.command import found, run
from lab.host.settings import MailSettings, SmtpSettings, Transport

PASSWORD = "LAB_SMTP_PASSWORD"

DEADLINE = 60.0
"""Seconds for each answer of a server, or for sendmail."""

_LINE = 998
"""Characters in a line at most (RFC 5322, 2.1.1)."""


@dataclass(frozen=True)
class Mailbox:
    """Settings that can be used, with the password if there is one."""

    settings: MailSettings
    password: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """How it is told of."""
        return f"mail to {', '.join(self.settings.to)}"

    def send(self, subject: str, text: str) -> None:
        """Send a mail.  Raises HostError."""
        message = compose(self.settings, subject, text)
        if self.settings.smtp is None:
            _by_sendmail(self.settings, message)
        else:
            _by_smtp(self.settings.smtp, self.password, message, self.settings.to)


def mailbox(settings: MailSettings) -> Mailbox:
    """What mails can be sent with.

    Raises UsageError when the password or sendmail is missing.
    """
    smtp = settings.smtp
    if smtp is None:
        if found(str(settings.sendmail)) is None:
            raise UsageError(
                f"{settings.sendmail}: no such program, so no mail can be sent",
                hint="install msmtp-mta or another that has sendmail, or set notify.mail.smtp",
            )
        return Mailbox(settings)
    password = take(PASSWORD, smtp.password_file)
    if smtp.user and not password:
        raise UsageError(
            f"no password for {smtp.user} at {smtp.host}",
            hint=f"set {PASSWORD}, or notify.mail.smtp.password_file",
        )
    return Mailbox(settings, password)


def compose(settings: MailSettings, subject: str, text: str) -> EmailMessage:
    """The mail, with the headers that a list asks for."""
    message = EmailMessage(policy=SMTP)
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Subject"] = " ".join(subject.split())
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=settings.sender.partition("@")[2])
    # RFC 3834: no holiday answers to this.
    message["Auto-Submitted"] = "auto-generated"
    long = any(len(line.encode()) > _LINE for line in text.splitlines())
    message.set_content(text, cte="quoted-printable" if long or not text.isascii() else "7bit")
    return message


def _by_sendmail(settings: MailSettings, message: EmailMessage) -> None:
    argv: list[str | Path] = [settings.sendmail, "-i", "-f", settings.sender, "--", *settings.to]
    # Programs on this host are given the host's line ends.
    run(argv, deadline=DEADLINE, text=message.as_string(policy=SMTP.clone(linesep="\n")))


def _by_smtp(smtp: SmtpSettings, password: str, message: EmailMessage, to: tuple[str, ...]) -> None:
    where = f"{smtp.host}:{smtp.port}"
    try:
        with _connected(smtp) as server:
            if smtp.user:
                server.login(smtp.user, password)
            refused = server.send_message(message, to_addrs=list(to))
    except smtplib.SMTPNotSupportedError as error:
        raise HostError(f"{where}: {error}", hint="look at notify.mail.smtp.transport") from error
    except smtplib.SMTPResponseException as error:
        raise _refused(where, error) from error
    except (smtplib.SMTPException, OSError) as error:
        raise HostError(
            f"{where}: no mail could be sent: {error}", hint="look at notify.mail.smtp"
        ) from error
    if refused:
        said = "\n".join(f"{who}: {_words(code, words)}" for who, (code, words) in refused.items())
        raise HostError(f"{where}: not everybody gets the mail", detail=said)


@contextmanager
def _connected(smtp: SmtpSettings) -> Iterator[smtplib.SMTP]:
    trusted = ssl.create_default_context()
    if smtp.transport is Transport.TLS:
        with smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=DEADLINE, context=trusted) as server:
            yield server
        return
    with smtplib.SMTP(smtp.host, smtp.port, timeout=DEADLINE) as server:
        if smtp.transport is Transport.STARTTLS:
            server.starttls(context=trusted)
        yield server


def _refused(where: str, error: smtplib.SMTPResponseException) -> LabError:
    login = isinstance(error, smtplib.SMTPAuthenticationError)
    what = "does not take this user and password" if login else "refused the mail"
    return HostError(
        f"{where}: the server {what}",
        detail=_words(error.smtp_code, error.smtp_error),
        hint="look at notify.mail",
    )


def _words(code: int, said: bytes | str) -> str:
    return f"{code} {said.decode(errors='replace') if isinstance(said, bytes) else said}"
