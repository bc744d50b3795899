"""A real Postfix as the recipient's server: takes mail for one domain over STARTTLS and puts it into a maildir.

    with PostfixMx("recipient.example") as mx:
        ... deliver to mx.host, mx.port ...
        message = mx.wait(1)[0]

Its own directories and port; the system's Postfix is untouched. They are not in pytest's tmp_path: pytest closes that
to other users each time it starts anywhere, and Postfix's daemons run as users of their own.
The topmost Received field of a message says which TLS was used.
"""

import os
import pwd
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.peers import Postfix, fill
from bench.processes import free_port
from tests.support import needs

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = @QUEUE@
data_directory = @DATA@
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = @NAME@
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
mynetworks = 192.0.2.0/24
maillog_file = @LOG@
maillog_file_prefixes = /
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_chain_files = @PEM@
smtpd_tls_received_header = yes
virtual_mailbox_domains = @DOMAIN@
virtual_mailbox_base = @MAIL@
virtual_mailbox_maps = static:all/
virtual_minimum_uid = 1
virtual_uid_maps = static:@UID@
virtual_gid_maps = static:@GID@
"""
LATER_CF = """\
virtual_mailbox_maps = regexp:@UNKNOWN@
smtpd_reject_unlisted_recipient = no
relayhost = [127.0.0.1]:@BOUNCES@
"""
MASTER_CF = """\
@ADDRESS@:@PORT@ inet n - n - - smtpd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
proxymap  unix  - - n - - proxymap
error     unix  - - n - - error
retry     unix  - - n - - error
virtual   unix  - n n - - virtual
smtp      unix  - - n - - smtp
anvil     unix  - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""


class PostfixMx:
    """A receiving Postfix for `domain` at an address of loopback (127.0.0.x) and a port that is free."""

    def __init__(self, domain: str, *, host: str = "127.0.0.1", name: str = "", bounces: int = 0) -> None:
        """Ends the test (skipped; failed in CI) where Postfix or root is missing. `name`: the server's own. `bounces`: it takes
        mail for whoever, and who begins with "gone" it finds unknown later: its report goes to this port."""
        needs.program("postfix")
        needs.root()
        self.host = host
        self.port = free_port(host)
        self.domain = domain
        self.name = name or f"mx.{domain}"
        self._directory = tempfile.TemporaryDirectory(prefix="postfix-mx-")
        home = Path(self._directory.name)
        home.chmod(0o755)
        self._log = home / "mail.log"
        self._maildir = home / "mail" / "all"
        self._maildir.parent.mkdir()
        owner = pwd.getpwnam("nobody")
        os.chown(self._maildir.parent, owner.pw_uid, owner.pw_gid)
        (home / "server.pem").write_bytes(self_signed(self.name))
        words = {
            "NAME": self.name,
            "LOG": self._log,
            "PEM": home / "server.pem",
            "DOMAIN": domain,
            "MAIL": self._maildir.parent,
            "UID": owner.pw_uid,
            "GID": owner.pw_gid,
            "ADDRESS": host,
            "PORT": self.port,
        }
        main = MAIN_CF
        if bounces:
            (home / "unknown").write_text("!/^gone/ all/\n")
            main += LATER_CF
            words |= {"UNKNOWN": home / "unknown", "BOUNCES": bounces}
        self._postfix = Postfix(home, fill(main, words), fill(MASTER_CF, words), self.port, host)

    def __repr__(self) -> str:
        return f"<PostfixMx {self.name} {self.host}:{self.port} for {self.domain}: {len(self.messages())} messages>"

    def __enter__(self) -> "PostfixMx":
        try:
            self._postfix.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._postfix.stop()
        self._directory.cleanup()

    def messages(self) -> list[bytes]:
        """What has been delivered, oldest first, as a maildir keeps it (LF line ends, Return-Path in front)."""
        files = sorted((self._maildir / "new").glob("*"), key=lambda path: path.stat().st_mtime_ns)
        return [file.read_bytes() for file in files]

    def wait(self, count: int, seconds: float = 20) -> list[bytes]:
        """The messages once there are `count` of them; AssertionError with the log when that takes too long."""
        end = time.monotonic() + seconds
        while len(self.messages()) < count:
            if time.monotonic() > end:
                raise AssertionError(f"{self!r}, expected {count}\n{self.log()}")
            time.sleep(0.02)
        return self.messages()

    def log(self) -> str:
        """Postfix's own log."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def self_signed(name: str) -> bytes:
    """Key and certificate for `name` in one PEM, valid for a day, as most MX hosts' are: signed by nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
