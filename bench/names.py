"""A DNS server of the benchmark's own: every domain has one MX; the dead ones' host takes no mail."""

import socketserver
import threading
from types import TracebackType

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

ALIVE = "127.0.0.1"
DEAD = "127.0.0.9"  # on Linux all of 127.0.0.0/8 is this machine
DEAD_DOMAIN = "dead.example"


class _Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """MX for a domain, an address for its `mx.` host, and no such record for anything else."""
        data, link = self.request
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text()
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        if question.rdtype == dns.rdatatype.MX and not name.startswith("mx."):
            answer.answer.append(dns.rrset.from_text(name, 300, "IN", "MX", f"10 mx.{name}"))
        elif question.rdtype == dns.rdatatype.A and name.startswith("mx."):
            address = DEAD if name == f"mx.{DEAD_DOMAIN}." else ALIVE
            answer.answer.append(dns.rrset.from_text(name, 300, "IN", "A", address))
        link.sendto(answer.to_wire(), self.client_address)


class Names:
    """The server, at `address` ("127.0.0.1:port") while the context lasts."""

    def __init__(self) -> None:
        self._server = socketserver.ThreadingUDPServer((ALIVE, 0), _Answer)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.address = f"{ALIVE}:{self._server.server_address[1]}"

    def __enter__(self) -> "Names":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
