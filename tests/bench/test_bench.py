"""The benchmark measures what it says: load, counting, CPU of processes that come and go, the place of a sample."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from bench import machine, pace, returns, stages, varied
from bench.load import Load
from bench.peers import fill
from bench.processes import cpu_seconds, memory, start, tree, wait_until
from bench.run import Result, heading, row
from relay.feedback.replies import diagnose
from relay.feedback.returned import Kind, read_mail
from relay.feedback.taxonomy import Category
from relay.outcome import Reply

BURN = "import time\nwhile time.process_time() < 0.3: pass"
PARENT = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', '''{BURN}''']); print(flush=True); time.sleep(60)"


def test_the_varied_load_is_the_same_each_time_and_varies() -> None:
    sent = list(varied.messages(300))
    assert sent == list(varied.messages(300))
    assert len({content for _, content in sent}) == 300
    assert len({commands.split(b"@d")[1].split(b">")[0] for commands, _ in sent}) > 200
    bodies = [content.partition(b"\r\n\r\n")[2] for _, content in sent]
    assert all(content.endswith(b"\r\n.\r\n") and content.count(b"\r\n.") == 1 for content in bodies)
    assert any(b"  " in body for body in bodies)
    assert any(not body.isascii() for body in bodies)


def test_the_cpu_of_a_child_that_ended_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = start("parent", [sys.executable, "-c", PARENT], log)
    try:
        wait_until(lambda: log.read_bytes() == b"\n", 30, "the parent's child did not end")
        assert len(tree(program.pid)) == 1
        assert cpu_seconds([program.pid]) >= 0.29  # the parent itself used a tenth of that
        assert memory([program.pid])[program.pid] > 1_000_000
    finally:
        program.stop()
    assert tree(program.pid) == {}


def test_stopping_ends_a_program_that_ignores_sigterm(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    log = tmp_path / "log"
    program = start("deaf", [sys.executable, "-c", deaf], log)
    wait_until(lambda: log.read_bytes() == b"\n", 30, "it did not start")
    program.stop(seconds=0.1)
    assert program.process.returncode == -9


def test_a_sample_belongs_to_the_innermost_function_of_relay() -> None:
    inside = f"{stages.RELAY}signing/dkim.py:digest"
    door = f"{stages.RELAY}accept.py:accept"
    assert stages.place(["/usr/lib/python3/hashlib.py:new", inside, door]) == ("signing", "signing/dkim.py:digest")
    assert stages.place([door]) == ("accept", "accept.py:accept")
    assert stages.place([f"{stages.RELAY}worker.py:main", "<frozen runpy>:run"]) == (stages.LOOP, stages.LOOP)


def test_a_row_shows_medians_and_the_ratio_within_rounds() -> None:
    theirs = [Result(100, 100, 4.0), Result(200, 200, 5.0), Result(300, 300, 6.0), Result(1, 1, 1, peak=10 << 20)]
    ours = [Result(400, 400, 1.0), Result(1000, 1000, 1.0), Result(900, 900, 1.0), Result(1, 1, 1, peak=20 << 20)]
    line = row(Load(1000, 10 * 1024, kept=True), {"postfix": theirs, "postlane": ours})
    assert line == ("| 10 KB, kept | 200 / 200 / 5.00 / 10 | 900 / 900 / 1.00 / 20 | **4.0** (3.0 to 5.0) | 5.0 |")
    assert heading(["postfix", "postlane"])[0].count("|") == line.count("|")


def test_templates_are_filled() -> None:
    assert fill("a @PORT@ of @PORT@ and @DIR@", {"PORT": 25, "DIR": "/x"}) == "a 25 of 25 and /x"


def test_the_machine_is_described(tmp_path: Path) -> None:
    lines = machine.describe(tmp_path)
    assert "CPUs" in lines[0]
    assert "fsync" in lines[1]


def test_every_part_explains_itself() -> None:
    parts = ("run", "scaling", "latency", "stages", "tune", "varied")
    helps = [
        subprocess.Popen([sys.executable, "-m", f"bench.{part}", "--help"], stdout=subprocess.PIPE) for part in parts
    ]
    for part, one in zip(parts, helps, strict=True):
        said, _ = one.communicate(timeout=60)
        assert one.returncode == 0, part
        assert f"python -m bench.{part}".encode() in said


def test_the_picture_of_paces_is_drawn_and_its_figures_written(tmp_path: Path) -> None:
    pace.main(tmp_path)
    drawn = ElementTree.fromstring((tmp_path / "pace.svg").read_text())  # noqa: S314 our own
    assert drawn.tag.endswith("svg")
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == 2
    page = (tmp_path / "pace.md").read_text()
    assert all(words in page for _, _, words in pace.STORY)
    assert page == (Path(pace.__file__).parent / "results" / "pace.md").read_text(), (
        "committed figures are those of today"
    )


def test_each_usual_form_of_returned_mail_is_one_that_is_understood() -> None:
    kinds = [read_mail(mail).kind for mail in returns.usual_mails()]
    assert kinds == [Kind.BOUNCE] * (len(kinds) - 1) + [Kind.COMPLAINT]
    understood = [diagnose(Reply(code, enhanced, text), command) for code, enhanced, text, command in returns.USUAL]
    assert sum(one.category is not Category.OTHER for one in understood) >= len(understood) - 2
