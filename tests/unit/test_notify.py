# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is told of a night: a real SMTP server, a program like sendmail, a real HTTP server."""

import hashlib
import hmac
import json
import ssl
import stat
from asyncio import Server
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import typer
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.cli import export, nightly
from lab.errors import HostError, ProfileError, UsageError
from lab.farm.notify.mail import mailbox
from lab.farm.notify.secret import take
from lab.farm.notify.send import notices
from lab.farm.notify.webhook import SIGNATURE, Hook, hook
from lab.farm.outcome import last_night
from lab.host import dirs, settings
from lab.host.settings import MailSettings, NotifySettings, WebhookSettings
from lab.results import letter
from lab.results.news import Night
from lab.results.store.database import session
from tests.unit.test_nightly import TEXT, Bench, bench, carry_out, plan

__all__ = ["bench", "plan"]

LOCAL = "127.0.0.1"
PASSWORD = "not a secret: of a test"


class Inbox:
    """An SMTP server's handler that keeps what it is given; `refuses` is one of the recipients."""

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses
        self.mails: list[tuple[list[str], EmailMessage, bytes]] = []

    async def handle_RCPT(  # noqa: N802 - the name is aiosmtpd's
        self, _server: Any, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if address == self.refuses:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, _server: Any, _session: Session, envelope: Envelope
    ) -> str:
        content = envelope.original_content or b""
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append((envelope.rcpt_tos, mail, content))
        return "250 taken"


class OnAnyPort(Controller):
    """A controller that finds out which port it was given before it tries that."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def smtp(inbox: Inbox, **how: Any) -> Iterator[int]:
    """An SMTP server; its port."""
    controller = OnAnyPort(inbox, hostname=LOCAL, port=0, **how)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this host, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab's test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOCAL))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def knows(_server: Any, _session: Any, _envelope: Any, _mechanism: str, told: Any) -> AuthResult:
    """Authenticates the lab."""
    assert isinstance(told, LoginPassword)
    well = (told.login, told.password) == (b"lab", PASSWORD.encode())
    return AuthResult(success=well, handled=well)


def mail_settings(
    port: int = 0, to: tuple[str, ...] = ("list@example.org",), **how: Any
) -> MailSettings:
    smtp = {"host": LOCAL, "port": port, "transport": "none", **how} if port else None
    return MailSettings.model_validate({"to": to, "sender": "lab@example.org", "smtp": smtp})


@pytest.fixture
def night(plan: Any, bench: Bench) -> Iterator[Night]:
    """One in which everything fails on one kernel, after one in which all was well."""
    carry_out(plan)
    bench.failing = "debian-sid"
    carry_out(plan)
    with session() as store:
        found = last_night(store)
        assert found
        yield found


def test_a_mail_reads_as_one_to_a_list(night: Night) -> None:
    inbox = Inbox()
    with smtp(inbox) as port:
        box = mailbox(mail_settings(port, ("list@example.org", "me@example.org")))
        box.send(letter.subject(night), letter.text(night, "https://lab.example.org/x.html"))
    ((to, mail, raw),) = inbox.mails
    assert to == ["list@example.org", "me@example.org"]
    assert mail["Subject"] == f"[lab] night {night.row.started:%Y-%m-%d}: 3 new"
    assert mail["From"] == "lab@example.org" and mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@example.org>") and mail["Date"]
    assert mail.get_content_type() == "text/plain"
    text = mail.get_content().replace("\r\n", "\n")
    assert text.startswith("New: 3 things are worse than the baseline.\n")
    lines = text.splitlines()
    assert all(len(line) <= 72 for line in lines if not line.startswith(("  lab run", "Page:")))
    told = " ".join(text.split())
    assert "- debian-sid fails write:1 eio of copy-faults on nvme-copy, which passed 4 of 4" in told
    assert "PREFIX: sector 1." in told
    assert "debian-sid against the baseline: 3 regressed." in told
    assert "  lab run zns copy-faults --kernel debian-sid" in lines
    assert b"\n" not in raw.replace(b"\r\n", b"")


def test_what_is_not_ascii_arrives(night: Night) -> None:
    inbox = Inbox()
    with smtp(inbox) as port:
        mailbox(mail_settings(port)).send("a\nb → c", "nähe\n" + "x" * 2000 + "\n.\n.dot\n")
    ((_, mail, _),) = inbox.mails
    assert mail["Subject"] == "a b → c"
    assert mail.get_content().replace("\r\n", "\n") == "nähe\n" + "x" * 2000 + "\n.\n.dot\n"


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("transport", ["starttls", "tls"])
def test_a_password_goes_over_tls_only(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context, inbox = server_tls(certificate), Inbox()
    tls = {"ssl_context": context} if transport == "tls" else {"tls_context": context}
    how = {"auth_require_tls": transport == "starttls", "require_starttls": transport == "starttls"}
    with smtp(inbox, authenticator=knows, auth_required=True, **tls, **how) as port:
        asked = mail_settings(port, transport=transport, user="lab")
        monkeypatch.setenv("LAB_SMTP_PASSWORD", PASSWORD)
        mailbox(asked).send("s", "t")
        assert len(inbox.mails) == 1
        monkeypatch.setenv("LAB_SMTP_PASSWORD", "another")
        with pytest.raises(HostError, match="does not take this user and password"):
            mailbox(asked).send("s", "t")
    assert len(inbox.mails) == 1


def test_a_server_that_nobody_vouches_for_gets_nothing(certificate: Path) -> None:
    inbox = Inbox()
    with (
        smtp(inbox, tls_context=server_tls(certificate)) as port,
        pytest.raises(HostError, match="certificate verify failed"),
    ):
        mailbox(mail_settings(port, transport="starttls")).send("s", "t")
    with smtp(inbox) as port, pytest.raises(HostError, match=r"STARTTLS .*transport"):
        mailbox(mail_settings(port, transport="starttls")).send("s", "t")
    assert inbox.mails == []


def test_servers_that_refuse_are_quoted() -> None:
    inbox = Inbox(refuses="gone@example.org")
    with smtp(inbox) as port:
        with pytest.raises(HostError, match=r"(?s)not everybody.*gone@.*550 nobody of that name"):
            mailbox(mail_settings(port, ("gone@example.org", "me@example.org"))).send("s", "t")
        with pytest.raises(HostError, match="no mail could be sent"):
            mailbox(mail_settings(port, ("gone@example.org",))).send("s", "t")
    assert [to for to, _, _ in inbox.mails] == [["me@example.org"]]
    with pytest.raises(HostError, match=f"{LOCAL}:{port}: no mail could be sent"):
        mailbox(mail_settings(port)).send("s", "t")


def test_sendmail_is_given_the_mail_and_the_recipients(tmp_path: Path) -> None:
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/argv\ncat >{tmp_path}/mail\n')
    program.chmod(0o700)
    asked = MailSettings(to=("list@example.org",), sender="lab@example.org", sendmail=program)
    mailbox(asked).send("it works", "one\n.\ntwo\n")
    assert (tmp_path / "argv").read_text().split() == [
        "-i", "-f", "lab@example.org", "--", "list@example.org",
    ]  # fmt: skip
    raw = (tmp_path / "mail").read_bytes()
    mail = message_from_bytes(raw, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    assert (mail["Subject"], mail.get_content()) == ("it works", "one\n.\ntwo\n")
    assert b"\r" not in raw
    program.write_text("#!/bin/sh\necho mailbox full >&2\nexit 75\n")
    with pytest.raises(HostError, match=r"(?s)exit status 75.*mailbox full"):
        mailbox(asked).send("s", "t")


def test_what_is_missing_is_told_before_a_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = MailSettings(to=("a@b",), sender="a@b", sendmail=tmp_path / "none")
    with pytest.raises(UsageError, match="no such program"):
        mailbox(nowhere)
    with pytest.raises(UsageError, match="no password for lab"):
        mailbox(mail_settings(1, transport="tls", user="lab"))
    with pytest.raises(UsageError, match="no URL"):
        hook(WebhookSettings())
    monkeypatch.setenv("LAB_WEBHOOK_URL", "file:///etc/passwd")
    with pytest.raises(UsageError, match="no URL"):
        hook(WebhookSettings())


def test_a_secret_in_the_environment_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TEST_SECRET", "s3")
    assert take("LAB_TEST_SECRET", None) == "s3"
    assert take("LAB_TEST_SECRET", None) == ""


def test_a_secret_in_a_file_is_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(UsageError, match="No such file"):
        take("LAB_TEST_SECRET", path)
    path.write_text("s3\n")
    path.chmod(0o640)
    with pytest.raises(UsageError, match=r"others can read it .*chmod 600"):
        take("LAB_TEST_SECRET", path)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert take("LAB_TEST_SECRET", path) == "s3"
    path.write_text("")
    with pytest.raises(UsageError, match="empty"):
        take("LAB_TEST_SECRET", path)


def test_secrets_are_in_no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SMTP_PASSWORD", PASSWORD)
    box = mailbox(mail_settings(1, transport="tls", user="lab"))
    assert box.password == PASSWORD and PASSWORD not in repr(box)
    made = Hook("https://hooks.example.org/T0/secret", "s3")
    assert "secret" not in repr(made) and "s3" not in repr(made)
    assert made.name == "webhook at hooks.example.org"


class Posted:
    """What an HTTP server was sent; `status` and `headers` are its answer."""

    def __init__(self) -> None:
        self.status = 204
        self.headers: dict[str, str] = {}
        self.got: list[tuple[str, Mapping[str, str], bytes]] = []


@pytest.fixture
def posted() -> Iterator[tuple[str, Posted]]:
    """A URL, and what was sent there."""
    kept = Posted()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.got.append((self.path, dict(self.headers), body))
            self.send_response(kept.status)
            for name, value in kept.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if kept.status >= 400:
                self.wfile.write(b"no room")

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with HTTPServer((LOCAL, 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://{LOCAL}:{server.server_port}/hook", kept
        finally:
            server.shutdown()
            thread.join()


def test_a_webhook_is_posted_and_signed(night: Night, posted: tuple[str, Posted]) -> None:
    url, kept = posted
    Hook(url, "s3").post(letter.document(night, "https://lab.example.org/x.html"))
    ((path, headers, body),) = kept.got
    assert path == "/hook" and headers["Content-Type"] == "application/json"
    digest = hmac.new(b"s3", body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"sha256={digest}"
    told = json.loads(body)
    assert told["night"] == night.row.id and told["page"] == "https://lab.example.org/x.html"
    assert told["headline"] == "New: 3 things are worse than the baseline"
    assert told["started"].endswith("+00:00") and told["ended"].endswith("+00:00")
    assert told["kernels"] == {"debian-sid": {"regressed": 3}}
    assert told["runs"] == {"done": 10}
    first = told["news"][0]
    assert (first["kernel"], first["change"], first["case"]) == (
        "debian-sid", "regressed", "write:1 eio",
    )  # fmt: skip
    assert "which passed 4 of 4 times before" in first["sentence"]


def test_without_a_secret_nothing_is_signed(posted: tuple[str, Posted]) -> None:
    url, kept = posted
    Hook(url).post({})
    assert SIGNATURE not in kept.got[0][1]


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (500, {}, r"(?s)webhook at 127.0.0.1: HTTP status 500.*no room"),
        (302, {"Location": "http://127.0.0.1:1/elsewhere"}, "HTTP status 302"),
    ],
)
def test_an_answer_that_is_no_success(
    posted: tuple[str, Posted], status: int, headers: dict[str, str], said: str
) -> None:
    url, kept = posted
    kept.status, kept.headers = status, headers
    with pytest.raises(HostError, match=said):
        Hook(url).post({})
    assert len(kept.got) == 1


def test_nobody_listens() -> None:
    with HTTPServer((LOCAL, 0), BaseHTTPRequestHandler) as server:
        url = f"http://{LOCAL}:{server.server_port}/secret-part"
    with pytest.raises(HostError, match="Connection refused") as caught:
        Hook(url).post({})
    assert "secret-part" not in str(caught.value)


def configure(**notify: Any) -> None:
    path = dirs.config(settings.FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"notify": notify}))


def carry_out_by_command(place: Path) -> int:
    path = place / "night.yaml"
    path.write_text(TEXT)
    with pytest.raises(typer.Exit) as ended:
        nightly.nightly(path)
    return int(ended.value.exit_code)


def test_a_night_tells_all_and_writes_its_pages(
    tmp_path: Path, bench: Bench, posted: tuple[str, Posted], capsys: pytest.CaptureFixture[str]
) -> None:
    url, kept = posted
    inbox = Inbox()
    with smtp(inbox) as port:
        server = {"host": LOCAL, "port": port, "transport": "none"}
        configure(
            mail={"to": ["me@example.org"], "sender": "lab@example.org", "smtp": server},
            webhook={"url": url}, pages="https://lab.example.org/",
        )  # fmt: skip
        assert carry_out_by_command(tmp_path) == 0
    ((_, mail, _),) = inbox.mails
    told = json.loads(kept.got[0][2])
    assert told["page"] == f"https://lab.example.org/{told['night']}.html"
    assert f"Page: {told['page']}" in mail.get_content()
    assert (dirs.state("site") / f"{told['night']}.html").is_file()
    said = capsys.readouterr().err
    assert "told: mail to me@example.org" in said and f"told: webhook at {LOCAL}" in said
    # The server is gone: that is told, and is no result of the night.
    assert carry_out_by_command(tmp_path) == 3
    said = capsys.readouterr().err
    assert "no mail could be sent" in said and f"told: webhook at {LOCAL}" in said
    with pytest.raises(typer.Exit) as ended:
        export.notify()
    assert ended.value.exit_code == 3 and len(kept.got) == 3


def test_only_news_if_nothing_else_is_asked_for(
    tmp_path: Path, bench: Bench, posted: tuple[str, Posted]
) -> None:
    url, kept = posted
    configure(webhook={"url": url}, when="news")
    assert carry_out_by_command(tmp_path) == 0
    assert kept.got == []
    bench.failing = "debian-sid"
    assert carry_out_by_command(tmp_path) == 1
    assert len(kept.got) == 1
    # It is still so, which is no news.
    assert carry_out_by_command(tmp_path) == 1
    assert len(kept.got) == 1


def test_a_night_that_could_tell_nobody_does_not_begin(tmp_path: Path, bench: Bench) -> None:
    configure(webhook={"url_file": str(tmp_path / "none")})
    path = tmp_path / "night.yaml"
    path.write_text(TEXT)
    with pytest.raises(UsageError, match="No such file"):
        nightly.nightly(path)
    assert bench.begun == []


def test_who_has_set_nothing_is_told_what_to_set(
    night: Night, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=r"nobody is to be told .*notify\.mail"):
        export.notify()
    export.notify(dry_run=True)
    assert "Subject: [lab] night" in capsys.readouterr().out
    assert list(notices(NotifySettings()).tell(night)) == []


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ({"mail": {"to": [], "sender": "a@b"}}, "notify.mail.to"),
        ({"mail": {"to": ["a@b\nBcc: c@d"], "sender": "a@b"}}, "notify.mail.to.0"),
        ({"mail": {"to": ["a@b"], "sender": "no address"}}, "notify.mail.sender"),
        ({"webhook": {"url": "ftp://x"}}, "notify.webhook.url"),
        (
            {"mail": {"to": ["a@b"], "sender": "a@b",
                      "smtp": {"host": "h", "user": "u", "transport": "none"}}},
            "for all to read: use starttls",
        ),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing(notify: dict[str, Any], said: str) -> None:
    configure(**notify)
    with pytest.raises(ProfileError, match=said):
        settings.load()
