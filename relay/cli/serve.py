"""`postlane serve`: run the node in the foreground; in capture mode with the screen that `make run` shows."""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import uvloop

from relay import __version__, logs, worker
from relay.cli.events import render_line
from relay.cli.ports import holder_of
from relay.cli.status import staging
from relay.config import Deployment
from relay.feedback.eventlog import follow
from relay.order import Place
from relay.sockets import PortTaken
from relay.supervisor import Supervisor

SIMULATED = ("bounce", "full", "later", "blocked", "complaint", "unsubscribe", "away", "slow")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("serve", help="run in the foreground; SIGTERM drains, SIGHUP reloads")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    os.umask(os.umask(0o077) | 0o027)  # what mail says of people is for this user and group, whoever made data_dir
    try:
        supervisor = Supervisor(args.config.resolve(), args.policies.resolve(), worker.work, _web)
    except PortTaken as error:
        print(taken(error), file=sys.stderr)
        return 1
    if supervisor.alert is not None:
        print("\n".join([supervisor.alert.summary, *supervisor.alert.problems]), file=sys.stderr, flush=True)
    sandbox = supervisor.in_force.capture
    # Children inherit it: on the sandbox's screen the mail is the news, and only trouble interrupts it.
    os.environ.setdefault("POSTLANE_LOG", "warning" if sandbox else "info")
    logs.configure("supervisor", os.environ["POSTLANE_LOG"])
    if supervisor.in_force.deployment.only_to:
        print(f"Postlane {__version__} · {staging(supervisor.in_force.deployment.only_to)}", flush=True)
    worker.ready(supervisor.in_force)
    uvloop.run(_serve(supervisor, sandbox))
    return 0


def _web(place: Place, policies: Path, descriptors: Mapping[str, int]) -> int:
    from relay.web.process import work  # noqa: PLC0415 (10 MB that no other process needs)

    return work(place, policies, descriptors)


async def _serve(supervisor: Supervisor, sandbox: bool) -> None:
    screen = asyncio.create_task(_screen(supervisor.in_force.deployment)) if sandbox else None
    try:
        await supervisor.run()
    finally:
        if screen is not None:
            screen.cancel()


async def _screen(deployment: Deployment) -> None:
    print(welcome(deployment), flush=True)
    zone = ZoneInfo(deployment.node.timezone)
    web = f"http://{deployment.web.admin}" if deployment.web.admin else ""
    async for event in follow(deployment.node.data_dir / "events"):
        line = render_line(event, zone)
        print(line, flush=True)
        if event["type"] == "delivered" and web:
            print(f"{'':20}{web}/m/{event['id']}", flush=True)


def taken(error: PortTaken) -> str:
    """Which port, who holds it, what to do; screens.md 1."""
    who = holder_of(error.port)
    by = f", by {who.name} (pid {who.pid})" if who else ""
    variable = "WEB_PORT" if error.port in (8025, 8026) else "SMTP_PORT"
    known = " Mailpit and MailHog use it too." if error.port == 8025 else ""
    return f"Port {error.port} is in use{by}.{known}\n  make run {variable}={error.port + 10}        to use another"


def welcome(deployment: Deployment) -> str:
    """The first screen of the sandbox: settings to paste, how to send a first message; screens.md 1."""
    smtp = deployment.listeners[0]
    host = "127.0.0.1" if smtp.host in ("0.0.0.0", "::", "") else smtp.host  # noqa: S104 compared, not bound
    parts = "\n".join(
        "  " + "  ".join(f"{name}@sim.test" for name in SIMULATED[i : i + 4]) for i in range(0, len(SIMULATED), 4)
    )
    web = deployment.web.admin.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    return f"""\
Postlane {__version__} · capture mode: nothing leaves this machine

  Send mail to   {f"{host}:{smtp.port}":<18}no TLS, no login needed; any user, any password,
                                   any From address are taken
  Look at it     http://{web}
  Stop           Ctrl-C

Try it in a second terminal:

  {_command()} send --to you@example.com

or from your app (more: http://{web}/connect):

  Django      EMAIL_HOST="{host}"  EMAIL_PORT={smtp.port}
  Laravel     MAIL_MAILER=smtp  MAIL_HOST={host}  MAIL_PORT={smtp.port}  MAIL_SCHEME=null
  Nodemailer  createTransport({{ host: "{host}", port: {smtp.port} }})
  WordPress   WP Mail SMTP > Other SMTP: host {host}, port {smtp.port},
              Encryption None, Auto TLS off, Authentication off
  App in Docker?  make run HOST=0.0.0.0, then host.docker.internal:{smtp.port}

These recipients play a part, so that your code can be tested against them:
{parts}

Waiting for mail ..."""


def _command() -> str:
    """How the person may call us: the path they used, relative where that is shorter."""
    program = Path(sys.argv[0])
    try:
        return str(program.relative_to(Path.cwd()))
    except ValueError:
        return str(program)
