"""Tests that need programs of other packages: skipped with the reason where one is missing, a failure where CI=true."""

import os
import shutil
import socket
from typing import Final, NoReturn

import pytest

# A Debian package for each program a test may need (make test installs them where it may)
PACKAGES: Final = {
    "postfix": "postfix",
    "smtp-sink": "postfix",
    "smtp-source": "postfix",
    "opendkim": "opendkim",
    "haproxy": "haproxy",
    "redis-server": "redis-server",
    "swaks": "swaks and libnet-ssleay-perl",
    "msmtp": "msmtp",
    "chromium": "chromium",
    "node": "nodejs and node-nodemailer",
}
_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def program(name: str) -> str:
    """The path of an installed program; else the test ends here, skipped or (CI) failed."""
    path = shutil.which(name, path=_PATH)
    if path is None:
        lack(f"{name} is not installed: apt-get install {PACKAGES.get(name, name)}")
    return path


def root(why: str = "this test starts Postfix") -> None:
    """The test goes on only as root."""
    if os.geteuid():
        lack(f"{why}, which needs root")


def ipv6() -> bool:
    """Does this machine have ::1? A container may not, whatever is installed."""
    try:
        with socket.socket(socket.AF_INET6) as link:
            link.bind(("::1", 0))
    except OSError:
        return False
    return True


def lack(reason: str) -> NoReturn:
    """Something is missing: skip, or fail where CI promises that everything is there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true, but {reason}")
    pytest.skip(reason)
