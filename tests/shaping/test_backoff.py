"""Back-off rules: order, whose replies they see, and which replies of real providers those that ship hold for."""

import pytest

from relay.config.backoff import compiled
from relay.config.schema_backoff import BackoffTable
from relay.outcome import Outcome, Reply, Scope
from relay.shaping.backoff import Action, Backoff, Rule


def said(text: str, command: str = "MAIL") -> Outcome:
    """A peer's reply as egress makes it: code, enhanced code, text."""
    code, _, rest = text.partition(" ")
    first, _, more = rest.partition(" ")
    enhanced = first if first[:2] in ("4.", "5.", "2.") and first.count(".") == 2 else ""
    return Outcome(Reply(int(code), enhanced, more if enhanced else rest), command)


def table(reply: str, action: str = "slow", **more: str) -> BackoffTable:
    return BackoffTable.model_validate({"reply": reply, "action": action, **more})


SHIPPED = compiled((), {}, None)


def test_without_rules_nothing_follows() -> None:
    assert Backoff().find(said("421 4.7.28 slow down"), "google") is None


def test_the_first_that_holds_wins_a_providers_own_before_everybodys() -> None:
    rules = compiled(
        [table("too many", "slow", to="50%")],
        {"google": [table("too many", "suspend", **{"for": "2h"}), table("too", "other-source", **{"for": "1h"})]},
        None,
    )
    assert rules.find(said("451 4.3.0 too many of them"), "google") == Rule(Action.SUSPEND, 7_200_000, 1.0, "google")
    assert rules.find(said("451 4.3.0 too many of them"), "yahoo") == Rule(Action.SLOW, 15_000, 0.5)


def test_the_admins_come_before_those_that_ship() -> None:
    reply = said("550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. block list (S3150).")
    theirs = SHIPPED.find(reply, "microsoft")
    assert theirs is not None
    assert (theirs.action, theirs.span) == (Action.SUSPEND, 7_200_000)
    ours = compiled([table("S3150", "slow", to="10%")], {}, None).find(reply, "microsoft")
    assert ours is not None
    assert (ours.action, ours.to) == (Action.SLOW, 0.1)


def test_they_see_what_peers_write_alone() -> None:
    rules = compiled([table("*", "slow", to="50%")], {}, None)
    reply = Reply(421, "4.4.2", "no answer")
    assert rules.find(Outcome(reply, "DATA", Scope.HOST), "x") is not None
    assert rules.find(Outcome(reply, "DATA", Scope.HOST, internal=True), "x") is None
    assert rules.find(Outcome(reply, "DATA", Scope.HOST, captured=True), "x") is None
    assert rules.find(Outcome(Reply(250, "2.0.0", "OK"), "END"), "x") is None


def test_repr() -> None:
    assert repr(SHIPPED).startswith("<Backoff ")


@pytest.mark.parametrize(
    ("site", "reply", "action"),
    [
        ("google", "421 4.7.28 [192.0.2.1] Our system has detected an unusual rate of unsolicited mail", "slow 0.25"),
        ("google", "421 4.7.0 [192.0.2.1 15] Our system has detected that this message is suspicious", "slow 0.25"),
        ("google", "421 4.7.26 This mail has been rate limited because it is unauthenticated.", "slow 0.25"),
        ("google", "550 5.7.1 [..] due to the very low reputation of the sending IP address. To best", "suspend"),
        ("google", "450 4.2.1 The user you are trying to contact is receiving mail too quickly.", None),
        ("google", "550 5.1.1 The email account that you tried to reach does not exist.", None),
        ("microsoft", "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. block list (S3140).", "suspend"),
        ("microsoft", "550 DY-001 Mail rejected by Outlook.com for policy reasons.", "suspend"),
        ("microsoft", "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited (S775)", "slow 0.25"),
        ("microsoft", "421 RP-001 The mail server IP connecting to Outlook.com server has exceeded", "slow 0.25"),
        ("microsoft365", "550 5.7.606 Access denied, banned sending IP [192.0.2.1].", "suspend"),
        ("microsoft365", "550 5.7.509 Access denied, sending domain does not pass DMARC", None),
        ("microsoft365", "451 4.7.500 Server busy. Please try again later from [192.0.2.1].", "slow 0.25"),
        ("yahoo", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to", "slow 0.1"),
        ("yahoo", "421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred", "suspend"),
        ("yahoo", "421 4.7.1 [TSS09] All messages from 192.0.2.1 will be permanently deferred", "suspend"),
        ("yahoo", "553 5.7.1 [BL21] Connections not accepted from IP addresses on Spamhaus PBL", "suspend"),
        ("yahoo", "451 4.3.2 [GL01] Message from (192.0.2.1) temporarily deferred", None),
        ("apple", "451 4.7.1 Service unavailable - try again later", "slow 0.5"),
        ("apple", "421 4.7.1 Messages to a@icloud.com deferred due to excessive volume. Try again later", None),
        ("apple", "554 5.7.0 Blocked - see https://support.proofpoint.com/dnsbl-lookup.cgi?ip=192.0.2.1", "suspend"),
        ("comcast", "421 4.2.0 resimta-po-01v.sys.comcast.net RL000001", "slow 0.25"),
        ("comcast", "554 resimta-po-01v.sys.comcast.net comcast 192.0.2.1 BL000001 Spamhaus", "suspend"),
        ("gmx", "554 gmx.net Nemesis ESMTP Service not available No SMTP service IP address is block listed. ", "suspend"),
        ("gmx", "421 gmx.net (mxgmx104) Nemesis ESMTP Service not available Service unavailable", "slow 0.25"),
        ("orange", "421 mwinf5c42 ME Trop de connexions. Too many connections, slow down. OFR004_104 [104]", "slow 0.25"),
        ("orange", "421 mwinf5c42 ME Service refuse. Veuillez essayer plus tard. OFR_999 [999]", "slow 0.25"),
        ("orange", "550 mwinf5c04 ME Adresse IP source bloquee pour incident de spam. OFR006_102 [102]", "suspend"),
        ("free", "421 Too many spams from your IP (192.0.2.1), please visit http://postmaster.free.fr/", "suspend"),
        ("mailru", "550 Access from ip address 192.0.2.1 blocked. Visit http://help.mail.ru/", "suspend"),
        ("mailru", "421 Too many connections from your IP. Try again later.", "slow 0.25"),
        ("mimecast", "550 csi.mimecast.org Poor Reputation Sender. - https://community.mimecast.com/docs", "suspend"),
        ("mimecast", "421 Unable to process connection at this time", "slow 0.5"),
        ("mimecast", "451 Internal resources are temporarily unavailable", None),
        ("proofpoint", "554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1", "suspend"),
        ("x.example", "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", "suspend"),
        ("x.example", "554 5.7.1 Service unavailable; Sender address [a@b.example] blocked using dbl.spamhaus.org", None),
        ("x.example", "550 192.0.2.1 is in a black list at bl.spamcop.net", "suspend"),
        ("x.example", "450 4.7.1 Error: too many connections from 192.0.2.1", "slow 0.5"),
        ("x.example", "452 4.5.3 Too many recipients", None),
        ("x.example", "450 4.2.0 Recipient address rejected: Greylisted", None),
        ("x.example", "421 4.7.0 [TSS04] said by another than Yahoo", None),
    ],
)  # fmt: skip
def test_what_ships_knows_the_words_of_the_large_providers(site: str, reply: str, action: str | None) -> None:
    rule = SHIPPED.find(said(reply), site)
    found = None if rule is None else f"slow {rule.to}" if rule.action is Action.SLOW else rule.action.value
    assert found == action
