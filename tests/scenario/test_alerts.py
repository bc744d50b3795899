"""An alert reaches those who do not look: by mail through the queue, and as a signed post to a webhook; and so does its end."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest

from tests.support.http_peer import HttpPeer
from tests.support.node import Node, wait_for
from tests.support.peer import serving
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario

SECRET = base64.b64encode(b"k" * 32).decode()
RETRY = "policies/retry.toml"


def events(peer: HttpPeer) -> list[tuple[str, str]]:
    return [(one["state"], one["name"]) for post in peer.posted for one in json.loads(post.content)["events"]]


def test_a_refused_reload_is_told_by_mail_and_webhook_and_so_is_its_end(tmp_path: Path) -> None:
    peer = HttpPeer()
    with Sink() as sink, serving(peer):
        alerts = f"""[alerts]
mail = ["postmaster@test.example", "noa@test.example"]
webhook = "http://127.0.0.1:{peer.port}/hooks/mail"
webhook_secret_file = "hook-secret"
allow_private = true
"""
        delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"'
        secret = {"hook-secret": f"whsec_{SECRET}\n"}
        node = Node(tmp_path, delivery=delivery, key_for=("relay.test.example",), more=alerts, files=secret)
        (tmp_path / "hook-secret").chmod(0o600)
        with node:
            file = tmp_path / RETRY
            good = file.read_text()
            file.write_text("[marketing]\nwait = 5\n")
            assert node.run("reload").returncode == 1
            wait_for("the mail", lambda: len(sink.messages) == 2)
            text = sink.messages[0].content.decode()
            assert "From: Postlane test-1 <postlane@relay.test.example>" in text
            assert "Auto-Submitted: auto-generated" in text
            assert "DKIM-Signature:" in text
            assert "firing: policies/ on disk has 1 error" in text
            assert sorted(one.recipients[0] for one in sink.messages) == ["noa@test.example", "postmaster@test.example"]
            wait_for("the post", lambda: events(peer) == [("firing", "policies")])
            file.write_text(good)
            assert node.run("reload").returncode == 0
            wait_for("the post of its end", lambda: events(peer) == [("firing", "policies"), ("resolved", "policies")])
            for post in peer.posted:
                signed = f"{post.fields['webhook-id']}.{post.fields['webhook-timestamp']}.".encode() + post.content
                digest = hmac.new(b"k" * 32, signed, hashlib.sha256).digest()
                assert post.fields["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
            assert len(sink.messages) == 2, "mail has its pause"
