"""Prometheus' text: every counter named, no label that breaks a line, no series twice."""

import re

from hypothesis import given
from hypothesis import strategies as st

from relay.web.metrics import LANES, exposition, lanes, notes, totals, troubles
from tests.support.web import NOW, stats

LINE = re.compile(r'[a-zA-Z_][a-zA-Z0-9_]*(?:\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? -?[0-9.e+-]+')


def check(page: str) -> dict[str, float]:
    """The page's series, read by the format's own rules: a type before the samples, each series once."""
    found: dict[str, float] = {}
    typed: set[str] = set()
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            assert name not in typed
            typed.add(name)
        elif not line.startswith("# HELP "):
            assert LINE.fullmatch(line), line
            series, _, value = line.rpartition(" ")
            assert series not in found
            assert re.split(r"[{ ]", series)[0] in typed
            found[series] = float(value)
    return found


def test_whether_the_files_on_disk_are_in_force() -> None:
    page = exposition(stats() | {"gauges": {"policies_last_reload_successful": 0}}, NOW)
    assert check(page)["postlane_policies_last_reload_successful"] == 0
    assert "# HELP postlane_policies_last_reload_successful 0 while" in page


def test_counters_gauges_and_queues() -> None:
    series = check(exposition(stats(), NOW))
    assert series["postlane_up"] == 1
    assert series['postlane_info{node="relay-1",version="0.1.0",policies="3f9a1c",mode="capture"}'] == 1
    assert series['postlane_accepted_total{worker="worker-0"}'] == 12
    assert series['postlane_delivered_total{worker="worker-0",class="marketing"}'] == 182_406
    assert series['postlane_connections{worker="worker-0"}'] == 3
    assert series['postlane_egress_open{worker="worker-0"}'] == 2
    assert series['postlane_schedule_in_flight{shard="0"}'] == 4
    assert series['postlane_queue_waiting{shard="0"}'] == 31
    assert series['postlane_queue_oldest_seconds{shard="0"}'] == 41
    assert series['postlane_queue_lane_waiting{class="marketing",site="google"}'] == 28


def test_a_node_that_is_down_is_one_number() -> None:
    assert check(exposition(None, NOW)) == {"postlane_up": 0}


def test_a_worker_that_is_down_has_no_more_to_say() -> None:
    answer = {"workers": [{"name": "worker-0", "up": False, "deaths": 3}]}
    series = check(exposition(answer, NOW))
    assert series['postlane_worker_up{worker="worker-0"}'] == series['postlane_worker_healthy{worker="worker-0"}'] == 0
    assert series['postlane_worker_deaths{worker="worker-0"}'] == 3
    assert totals(answer, "delivered") == {}
    assert lanes(answer) == {}


def test_the_lanes_named_are_bounded_and_none_is_lost() -> None:
    many = [{"class": "marketing", "site": f"d{n}.example", "waiting": n} for n in range(LANES + 50)]
    many.append({"class": "marketing", "site": "other", "waiting": 10_000})
    series = check(exposition(stats(shards=[{"shard": 0, "queue": {"lanes": many}}]), NOW))
    named = {name: value for name, value in series.items() if name.startswith("postlane_queue_lane_waiting")}
    assert len(named) == LANES
    assert sum(named.values()) == sum(range(LANES + 50)) + 10_000


def test_totals_add_up_the_workers_by_class() -> None:
    answer = stats()
    answer["workers"] *= 2
    assert totals(answer, "delivered") == {"transactional": 2408, "marketing": 364_812}
    assert totals(answer, "accepted") == {"": 24}


def test_what_is_no_number_is_left_out_and_fractions_stay() -> None:
    counters = {"a": "x", "b": None, "c": [{"class": "x"}, 5], "d.e-f": 0.25, "g": {"h": 1}}
    series = check(exposition({"counters": counters, "workers": []}, NOW))
    assert {k: v for k, v in series.items() if k.endswith("_total")} == {"postlane_d_e_f_total": 0.25}


def test_why_a_node_is_not_ready() -> None:
    assert troubles(stats()) == []
    assert troubles({"workers": []}) == ["there is no worker"]
    assert troubles(None) == ["the node does not answer"]


def test_limits_that_cannot_be_looked_up_are_noted_once() -> None:
    answer = stats(gauges={"state_up": 0, "state_sharers": 4}, state_trouble="redis://r:6379/0: no answer in time")
    answer["workers"] *= 2
    said = "limits cannot be looked up (redis://r:6379/0: no answer in time): all but transactional mail waits"
    assert notes(answer) == [said]
    assert troubles(answer) == []
    answer["workers"].pop()
    assert check(exposition(answer, NOW))['postlane_state_up{worker="worker-0"}'] == 0
    assert notes(stats()) == notes(None) == []


@given(st.text(), st.text())
def test_no_name_breaks_the_format(site: str, node: str) -> None:
    shard = {"shard": 0, "queue": {"lanes": [{"class": "marketing", "site": site, "waiting": 1}]}}
    page = exposition({**stats(shards=[shard]), "node": node}, NOW)
    for line in page.split("\n")[:-1]:
        assert line.startswith("#") or LINE.fullmatch(line), line
