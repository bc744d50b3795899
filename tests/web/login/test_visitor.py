from relay.web.login.visitor import Visitor


def test_what_each_may() -> None:
    operator, viewer, opened = Visitor("noa", "operator"), Visitor("dan", "viewer"), Visitor()
    assert [one.may_change for one in (operator, viewer, opened)] == [True, False, False]
    assert [one.masked for one in (operator, viewer, opened)] == [False, True, False]
    assert not Visitor("noa", "operator", ("shop",)).may_change
    assert all(one.sees({}) for one in (operator, viewer, opened))


def test_who_is_limited_sees_his_apps_alone() -> None:
    limited = Visitor("dan", "viewer", ("shop", "crm"))
    assert limited.sees({"credential": "crm"})
    for event in ({"credential": "other"}, {"credential": None}, {}, {"credential": ["shop"]}):
        assert not limited.sees(event)
