"""In whose mail it mostly is."""

from relay.accounts import mostly


def test_what_has_half_of_all_is_named() -> None:
    parts = {
        ("campaign", "may"): 40.0,
        ("campaign", ""): 1.0,
        ("credential", "crm"): 41.0,
        ("site", "google"): 20.0,
        ("site", "yahoo"): 20.0,
        ("site", "gmx"): 1.0,
    }
    assert mostly(parts) == "mostly campaign may (40 of 41), credential crm (41 of 41)"
    assert mostly({}) == mostly({("site", "x"): 0.0}) == mostly({("campaign", ""): 5.0}) == ""
