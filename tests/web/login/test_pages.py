"""Login as a browser, a proxy and an attacker meet it: through the whole admin site."""

import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from relay.web.login import checking
from relay.web.login.limits import OF_NAME
from relay.web.login.pages import local
from relay.web.login.sessions import LASTS
from tests.support.logins import Clock, add_user, browser, form_in, log_in, login_of
from tests.support.web import IDS, Events, event, site

FREE = ("/healthz", "/readyz", "/metrics", "/static/postlane.css")
PAGES = ("/", "/queue", "/connect", f"/m/{IDS[0]}", f"/m/{IDS[0]}/html", f"/m/{IDS[0]}/source.eml", "/nothing")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes are compared, not made: that Argon2 decides is shown in test_checking.py."""
    right = {"correct horse battery"}
    monkeypatch.setattr(checking, "fits", lambda password, kept: password in right and kept.startswith("$argon2id$"))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    add_user(tmp_path, "noa", "operator")
    add_user(tmp_path, "dan", "viewer")
    return tmp_path


async def test_without_users_a_page_on_loopback_is_open(tmp_path: Path) -> None:
    async with browser(site(Events(), login=login_of(tmp_path))) as client:
        page = await client.get("/")
        assert page.status_code == 200
        assert "Log out" not in page.text
        assert (await client.get("/login")).headers["location"] == "/"
        behind_a_proxy = await client.get("/", headers={"X-Forwarded-For": "203.0.113.7"})
        assert behind_a_proxy.status_code == 403, "somebody elsewhere asks"


async def test_without_users_a_page_elsewhere_says_how_to_add_one(tmp_path: Path) -> None:
    app = site(Events(event("accepted", IDS[0])), login=login_of(tmp_path, loopback=False), any_address=True)
    async with browser(app, "192.0.2.5:8025") as client:
        for path in (*PAGES, "/login"):
            page = await client.get(path)
            assert page.status_code == 403
            assert "postlane users add NAME --role operator" in page.text
            assert IDS[0] not in page.text
        assert (await client.post("/login", data={})).status_code == 403
        for path in FREE:
            assert (await client.get(path)).status_code == 200
        add_user(tmp_path, "noa")
        assert (await client.get("/")).headers["location"] == "/login", "no restart is needed"


async def test_every_page_asks_to_log_in_and_what_programs_read_does_not(data_dir: Path) -> None:
    app = site(Events(event("accepted", IDS[0])), login=login_of(data_dir), api=True)
    async with browser(app) as client:
        for path in PAGES:
            answer = await client.get(f"{path}?view=text")
            assert answer.status_code == 303
            assert re.match(r"/login\?next=%2F", answer.headers["location"])
            assert IDS[0] not in answer.text
        for path in FREE:
            assert (await client.get(path)).status_code == 200
        assert (await client.post("/api/v1/validate", json={"address": "x"})).status_code == 401
        assert (await client.get("/api/v1/openapi.json")).status_code == 200
        assert (await client.post("/logout")).status_code == 401


async def test_logging_in_and_out(data_dir: Path) -> None:
    async with browser(site(Events(), login=login_of(data_dir))) as client:
        entered = await log_in(client, "noa", next="/queue?q=x")
        assert (entered.status_code, entered.headers["location"]) == (303, "/queue?q=x")
        cookies = {one.partition("=")[0]: one for one in entered.headers.get_list("set-cookie")}
        for name in ("postlane_session", "postlane_browser"):
            assert "HttpOnly" in cookies[name]
            assert "Secure" not in cookies[name]
        assert "SameSite=lax" in cookies["postlane_session"]
        page = (await client.get("/")).text
        assert ">noa</span>" in page
        assert (await client.get("/login")).headers["location"] == "/"
        session = client.cookies["postlane_session"]
        left = await client.post("/logout", data={"form": form_in(page)})
        assert left.headers["location"] == "/login"
        client.cookies.set("postlane_session", session)
        assert (await client.get("/")).status_code == 303, "the session is over, not only its cookie"


async def test_behind_tls_cookies_are_for_tls_alone(data_dir: Path) -> None:
    async with browser(site(Events(), login=login_of(data_dir)), scheme="https") as client:
        cookies = (await log_in(client, "noa")).headers.get_list("set-cookie")
        assert all("Secure" in one for one in cookies if "Max-Age=0" not in one)


async def test_wrong_name_and_wrong_password_look_the_same(data_dir: Path) -> None:
    async with browser(site(Events(), login=login_of(data_dir))) as client:
        answers = [await log_in(client, name, "wrong") for name in ("noa", "eve")]
        assert [one.status_code for one in answers] == [401, 401]
        first, second = (re.sub(r'value="[^"]*"', "", one.text) for one in answers)
        assert first == second
        assert "do not fit" in first
        assert "postlane_session" not in client.cookies
        with capture_logs() as logs:
            for name in ("noa", "my secret password"):
                await log_in(client, name, "wrong")
        assert [line["user"] for line in logs] == ["noa", "(nobody)"], (
            "a password in the wrong field is not written down"
        )
        hostile = await log_in(client, '"><script>x</script>', "wrong")
        assert "<script" not in hostile.text


async def test_many_tries_must_wait_and_a_known_browser_need_not(data_dir: Path) -> None:
    clock = Clock()
    app = site(Events(), login=login_of(data_dir, clock))
    async with browser(app) as known, browser(app, peer="203.0.113.7") as stranger:
        await log_in(known, "noa")
        for _ in range(OF_NAME.most):
            last = await log_in(stranger, "noa", "guess")
        assert last.status_code in (401, 429)
        limited = await log_in(stranger, "noa")
        assert limited.status_code == 429
        assert 0 < int(limited.headers["retry-after"]) <= OF_NAME.seconds
        assert "Too many tries" in limited.text
        del known.cookies["postlane_session"]
        assert (await log_in(known, "noa")).status_code == 303
        clock.now += 60_000
        assert (await log_in(stranger, "noa")).status_code == 303


async def test_a_queue_of_passwords_that_is_full_says_so(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "MOST", 0)
    async with browser(site(Events(), login=login_of(data_dir))) as client:
        assert (await log_in(client, "noa")).status_code == 429


async def test_a_session_ends_with_its_user_its_password_and_its_day(data_dir: Path) -> None:
    clock, users = Clock(), add_user(data_dir, "eve")
    app = site(Events(), login=login_of(data_dir, clock))
    async with browser(app) as client:
        await log_in(client, "eve")
        assert (await client.get("/")).status_code == 200
        users.renew("eve", "$argon2id$other")
        assert (await client.get("/")).status_code == 303
        await log_in(client, "eve")
        assert (await client.get("/")).status_code == 200
        users.remove("eve")
        assert (await client.get("/")).status_code == 303
        await log_in(client, "noa")
        clock.now += LASTS
        assert (await client.get("/")).status_code == 303


async def test_no_form_but_ours_changes_anything(data_dir: Path) -> None:
    app = site(Events(), login=login_of(data_dir))
    async with browser(app) as client, browser(app) as attacker:
        form = form_in((await attacker.get("/login")).text)
        name_and_password = {"name": "noa", "password": "correct horse battery"}
        for said in ({}, {"form": ""}, {"form": "0" * 64}, {"form": form}):
            assert (await client.post("/login", data={**name_and_password, **said})).status_code == 403
        await log_in(client, "noa")
        await log_in(attacker, "dan")
        his = form_in((await attacker.get("/")).text)
        for said in ({}, {"form": form}, {"form": his}):
            answer = await client.post("/logout", data=said)
            assert answer.status_code == 403
            assert "nothing was changed" in answer.text
        client.cookies.set("postlane_form", attacker.cookies.get("postlane_form") or "")
        assert (await client.post("/logout", data={"form": form})).status_code == 403, "a planted cookie proves nothing"
        assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_form_sent_by_a_page_elsewhere_is_refused(data_dir: Path, headers: dict[str, str]) -> None:
    async with browser(site(Events(), login=login_of(data_dir))) as client:
        await log_in(client, "noa")
        form = form_in((await client.get("/")).text)
        answer = await client.post("/logout", data={"form": form}, headers=headers)
        assert answer.status_code == 403
        assert (await client.get("/")).status_code == 200
        ours = {"Origin": "http://localhost:8025", "Sec-Fetch-Site": "same-origin"}
        assert (await client.post("/logout", data={"form": form}, headers=ours)).status_code == 303


async def test_a_form_that_is_too_long_is_not_read(data_dir: Path) -> None:
    async with browser(site(Events(), login=login_of(data_dir))) as client:
        assert (await client.post("/login", data={"form": "x" * 20_000})).status_code == 413


async def test_files_that_cannot_be_read_let_nobody_in(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login = login_of(data_dir)
    async with browser(site(Events(), login=login)) as client:
        await log_in(client, "noa")
        with monkeypatch.context() as patched:
            patched.setattr("relay.web.login.sessions.replace_private", _full)
            client.cookies.clear()
            failed = await log_in(client, "dan")
            assert failed.status_code == 503
            assert "Nobody can log in now" in failed.text
        (data_dir / "users.json").write_text("?")
        assert (await client.get("/")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("/m/x?view=text#content", "/m/x?view=text#content"),
        ("", "/"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/x\r\nSet-Cookie: a=b", "/"),
        ("javascript:alert(1)", "/"),
        ("/" + "x" * 2000, "/"),
        ("/ü", "/"),
    ],
)
def test_one_goes_on_to_a_page_of_ours_alone(asked: str, there: str) -> None:
    assert local(asked) == there
