"""`postlane send`: hand in a test message as an app would, by SMTP, and follow it until it has left."""

import argparse
import asyncio
import json
import re
import smtplib
import sys
from email.message import EmailMessage
from email.policy import SMTP
from ipaddress import ip_address
from pathlib import Path
from zoneinfo import ZoneInfo

from relay.cli.events import render_line
from relay.config import Deployment, Listener, load_deployment
from relay.control import NodeDown, request
from relay.feedback.eventlog import follow

FINAL = frozenset({"delivered", "bounced", "withheld"})
ASK_SECONDS = 5.0  # a node that is busy answers sooner
FOLLOW_SECONDS = 30.0  # longer than any first attempt on a healthy network; what is deferred then is told as such


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("send", help="hand in a test message and follow it")
    parser.add_argument("--to", required=True, metavar="ADDRESS")
    parser.add_argument("--from", dest="sender", default="postlane@example.com", metavar="ADDRESS")
    parser.add_argument("--stream", help="as X-Postlane-Stream")
    parser.add_argument("--user", help="log in as this credential (password on standard input)")
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="a whole message (RFC 5322); none: a greeting"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    deployment = load_deployment(args.config)
    return asyncio.run(_send_and_follow(args, deployment))


async def _send_and_follow(args: argparse.Namespace, deployment: Deployment) -> int:
    events = follow(deployment.node.data_dir / "events")
    watching = asyncio.ensure_future(anext(events))  # begins at the end of the log, before the message is handed in
    await asyncio.sleep(0)
    # A file of this system has LF line ends; on the wire they are CRLF (RFC 5321 2.3.8).
    content = re.sub(rb"\r?\n", b"\r\n", args.file.read_bytes()) if args.file else greeting(args.sender, args.to)
    if args.stream:
        content = f"X-Postlane-Stream: {args.stream}\r\n".encode() + content
    password = sys.stdin.readline().rstrip("\n") if args.user else ""
    try:
        answer = await asyncio.to_thread(hand_in, deployment, args.sender, args.to, content, args.user, password)
    except (OSError, smtplib.SMTPException) as error:
        watching.cancel()
        print(f"postlane send: {explain(error)}", file=sys.stderr)
        return 1
    identifier = answer.split()[2]
    if not args.json:
        print(f"250 {answer}")
    zone = ZoneInfo(deployment.node.timezone)
    try:
        async with asyncio.timeout(FOLLOW_SECONDS):
            event = await watching
            while True:
                if event.get("id") == identifier:
                    print(json.dumps(event) if args.json else render_line(event, zone))
                    if event["type"] in FINAL:
                        return 0 if event["type"] == "delivered" else 1
                event = await anext(events)
    except TimeoutError:
        print(f"Still under way after {FOLLOW_SECONDS:.0f} s: postlane queue show {identifier}", file=sys.stderr)
        return 1


def greeting(sender: str, to: str) -> bytes:
    message = EmailMessage()
    message["From"] = f"Postlane <{sender}>"
    message["To"] = to
    message["Subject"] = "Postlane says hello"
    message.set_content(
        "This message came by way of Postlane: handed in by SMTP, signed, queued on disk and delivered.\n"
    )
    return message.as_bytes(policy=SMTP)


def hand_in(deployment: Deployment, sender: str, to: str, content: bytes, user: str | None, password: str) -> str:
    """As an app would; the text of the answer to DATA."""
    listener, host = entrance(deployment)
    port = port_of(deployment, listener)
    implicit = listener.tls == "implicit"
    with (smtplib.SMTP_SSL if implicit else smtplib.SMTP)(host, port, timeout=60) as client:
        if listener.tls == "starttls":
            client.starttls()
        if user:
            client.login(user, password)
        client.ehlo_or_helo_if_needed()
        code, text = client.mail(sender)
        if code == 250:
            code, text = client.rcpt(to)
        if code == 250:
            code, text = client.data(content)
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
    return text.decode(errors="replace")


def entrance(deployment: Deployment) -> tuple[Listener, str]:
    """The first submission listener that takes us for an app and not for a proxy, and its address.

    From this machine we come to any of its addresses from that address. Raises ConnectionError where there is none.
    """
    for listener in deployment.listeners:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.host, listener.host)  # noqa: S104
        if listener.role == "submission" and not any(ip_address(host) in proxy for proxy in listener.proxy_protocol):
            return listener, host
    raise ConnectionError("no [[listener]] takes mail from this machine without a PROXY header; see proxy_protocol")


def port_of(deployment: Deployment, listener: Listener) -> int:
    """Where the running node has it: `make run SMTP_PORT=` moves it from where the file says, and a new bind waits for a
    restart. The file's, where no node answers."""
    try:
        ports: list[int] = request(deployment.node.data_dir, {"do": "versions"}, ASK_SECONDS).get("ports", [])
    except NodeDown:
        ports = []
    at = deployment.listeners.index(listener)
    return ports[at] if len(ports) == len(deployment.listeners) else listener.port


def explain(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return f"refused: {error.smtp_code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens at the submission port. Is it running? postlane status"
    return str(error)
