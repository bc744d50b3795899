"""HOST, SMTP_PORT and WEB_PORT of `make run`: the sandbox's ports moved without an edit. Pure."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from relay.config.problems import Problem, Wrong
from relay.config.schema_config import Listener, PostlaneFile
from relay.config.units import Address as AddressValue
from relay.config.units import address as parse_address
from relay.config.units import port_number

# In the sandbox an app may run in a container or on another machine of the room; nothing leaves, so private networks
# (RFC 1918, 4193, 4291) need no login once HOST opens the port to them.
_PRIVATE = tuple(
    map(
        ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1/128", "fc00::/7", "fe80::/10")
    )
)


def sandbox_binds(settings: PostlaneFile, environ: Mapping[str, str]) -> tuple[PostlaneFile, list[Problem]]:
    """HOST, SMTP_PORT and WEB_PORT, for `make run` alone: in live mode a stray variable must not move a port.

    The public pages follow the admin page, one port above it. A HOST that is no address is passed over: some shells
    export the machine's name under it.
    """
    if settings.delivery.mode != "capture":
        return settings, []
    problems: list[Problem] = []
    host = _host(environ)
    smtp, web = (_port(environ, name, problems) for name in ("SMTP_PORT", "WEB_PORT"))
    listeners = [
        _moved_listener(listener, host, smtp if at == 0 else None) for at, listener in enumerate(settings.listener)
    ]
    pages = {
        "admin": _moved_page(settings.web.admin, host, web),
        "public": _moved_page(settings.web.public, host, None if not web else web % 65535 + 1),
    }
    return settings.model_copy(update={"listener": listeners, "web": settings.web.model_copy(update=pages)}), problems


def _host(environ: Mapping[str, str]) -> str | None:
    try:
        return str(ip_address(environ.get("HOST", "")))
    except ValueError:
        return None


def _port(environ: Mapping[str, str], name: str, problems: list[Problem]) -> int | None:
    text = environ.get(name, "")
    try:
        return port_number(text) if text else None
    except Wrong as wrong:
        problems.append(Problem("environment", 0, name, wrong.message, wrong.slug))
        return None


def _moved(address: AddressValue, host: str | None, port: int | None) -> AddressValue:
    return AddressValue(host or address.host, address.port if port is None else port)


def _moved_page(address: str, host: str | None, port: int | None) -> str:
    return str(_moved(parse_address(address), host, port)) if address else ""


def _moved_listener(listener: Listener, host: str | None, port: int | None) -> Listener:
    changes: dict[str, object] = {"bind": _moved(listener.bind, host, port)}
    if host and not ip_address(host).is_loopback and listener.trust:
        changes["trust"] = [*listener.trust, *(private for private in _PRIVATE if private not in listener.trust)]
    return listener.model_copy(update=changes)
