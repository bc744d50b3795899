"""Figures and times as postmasters read them. Pure."""

from datetime import datetime, tzinfo

from relay.web import show

_UNITS = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))
FEW = 0.01  # below it shares have two digits behind the point: complaints are told in hundredths of a percent


def figure(value: float | None, unit: str, *, short: bool = False) -> str:
    """ "1,204", "0.75 %", "61 ms"; of an axis "1.2k"; "–" where nothing can be said."""
    if value is None:
        return "–"
    if unit == "share":
        return f"{value * 100:.3g} %" if short else share(value)
    if unit == "ms":
        return show.span(value)
    if short:
        return in_short(value)
    return f"{value:,.0f}" if value == round(value) or value >= 10 else f"{value:,.1f}"


def in_short(value: float) -> str:
    """ "1.2k" """
    for size, name in _UNITS:
        if value >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:g}"


def share(value: float | None) -> str:
    """ "0.75 %", "12.3 %", "100 %"; a little is never told as nothing."""
    if value is None:
        return "–"
    percent = value * 100
    if percent in (0, 100):
        return f"{percent:.0f} %"
    if value < FEW:
        return f"{percent:.2f} %" if percent >= 0.01 else "< 0.01 %"
    if value > 0.999:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def slot(begin: int, step: str, zone: tzinfo) -> str:
    """ "Sat 21 Nov 14:00" of an hour, "Sat 21 Nov" of a day."""
    moment = datetime.fromtimestamp(begin / 1000, zone)
    day = f"{moment:%a} {moment.day} {moment:%b}"
    return f"{day} {moment:%H:%M}" if step == "hour" else day
