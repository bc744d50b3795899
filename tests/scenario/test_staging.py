"""A staging node: only_to gets its mail at a real sink, everybody else's is captured; reload changes who is who."""

from pathlib import Path

import pytest

from tests.support.node import Node, wait_for
from tests.support.sink import Sink

pytestmark = pytest.mark.scenario


def live(folder: Path, sink: Sink, only_to: str) -> Node:
    delivery = f'mode = "live"\nrelay_host = "127.0.0.1:{sink.port}"\nonly_to = {only_to}'
    return Node(folder, delivery=delivery, key_for=("test.example",), workers=2)


def captured(node: Node) -> list[str]:
    """Ids of the captured messages, as their Received field has them."""
    heads = [path.read_bytes().partition(b"\r\n\r\n")[0] for path in (node.data / "capture").glob("*.eml")]
    return [head.partition(b" id ")[2][:16].decode() for head in heads]


def change(node: Node, before: str, after: str) -> str:
    """Edits config/postlane.toml and reloads; what the command said."""
    config = node.folder / "config" / "postlane.toml"
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))
    done = node.run("reload")
    wait_for("the node to be whole again", node.ready)
    return done.stdout + done.stderr


def test_some_mail_leaves_and_the_rest_is_captured_as_the_files_say(tmp_path: Path) -> None:
    with Sink() as sink, live(tmp_path, sink, '["dana@example.com", "*.arava.example"]') as node:
        leaves = [node.send(to) for to in ("Dana@Example.com", "noa@mail.arava.example")]
        stays = [node.send(to) for to in ("noa@example.com", "noa@arava.example")]
        both = node.send(["dana@example.com", "noa@example.com"])
        for one in leaves:
            event = node.final(one)
            assert (event["type"], event.get("captured"), event["mx"]) == ("delivered", None, "127.0.0.1")
            assert event["site"] == f"127.0.0.1:{sink.port}"
        for one in stays:
            event = node.final(one)
            assert (event["type"], event["captured"]) == ("delivered", True)
            assert event["reply"]["text"].startswith("OK captured as ")
            assert event["site"] != f"127.0.0.1:{sink.port}"
        ends = wait_for("both ends", lambda: (e := node.events(id=both, type="delivered")) and len(e) == 2 and e)
        assert {event["recipient"]: event.get("captured") for event in ends} == {
            "dana@example.com": None,
            "noa@example.com": True,
        }
        assert sorted(m.recipients[0].lower() for m in sink.messages) == [
            "dana@example.com",
            "dana@example.com",
            "noa@mail.arava.example",
        ]
        assert sorted(captured(node)) == sorted([*stays, both])
        status = node.run("status").stdout
        assert "mail leaves for dana@example.com, *.arava.example alone; all other mail is captured here" in status
        assert "all other mail is captured here" in node.log(), "the start says so"
        assert "to the capture server" in node.run("message", stays[0]).stdout
        reload_changes_who_is_captured(node, sink)
        assert node.stop() == 0
        node.start()
        assert "captured" not in node.final(node.send("dana@example.com")), "a restart leaves capture mode"


def reload_changes_who_is_captured(node: Node, sink: Sink) -> None:
    before = len(sink.messages)
    said = change(node, '["dana@example.com", "*.arava.example"]', '["dana@example.com"]')
    assert "mail leaves for dana@example.com alone" in said
    assert node.final(node.send("noa@mail.arava.example"))["captured"] is True
    assert "captured" not in node.final(node.send("dana@example.com"))
    assert node.ask({"do": "stats"})["only_to"] == ["dana@example.com"]
    change(node, 'only_to = ["dana@example.com"]', "only_to = []")
    assert "captured" not in node.final(node.send("noa@example.com"))
    change(node, 'mode = "live"', 'mode = "capture"')
    assert "captured as" in node.final(node.send("dana@example.com"))["reply"]["text"]
    refused = change(node, 'mode = "capture"', 'mode = "live"')
    assert "delivery.mode: a restart is needed to leave capture mode" in refused
    assert node.final(node.send("dana@example.com"))["captured"] is True
    assert len(sink.messages) == before + 2
