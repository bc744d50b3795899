"""A small company's files, for what tries mail on the files on disk; and mail of it, in two languages."""

from pathlib import Path
from typing import Any

import orjson

from relay.config.reader import contents, fingerprint
from relay.event import iso
from relay.feedback.eventlog import hour_of
from relay.ids import Ids
from relay.in_force import KEYS
from relay.kept import Decision, Store, write_decision
from relay.signing.entries import states_text
from relay.signing.keyfile import write_private_key
from relay.signing.keys import read_keys
from tests.support.signatures import both_keys

CONFIG = """\
[node]
name = "relay-1"
hostname = "relay-1.marom.example"
timezone = "Asia/Jerusalem"

[[listener]]
bind = "127.0.0.1:2525"
max_size = "1MB"

[web]
public_url = "https://mail.marom.example"
"""
POOLS = """\
[pool.transactional]
sources = [{ address = "198.51.100.10", ehlo = "t1.marom.example" }]
[pool.service]
sources = [{ address = "198.51.100.15", ehlo = "s1.marom.example" }]
[pool.marketing]
sources = [
  { address = "198.51.100.20", ehlo = "m1.marom.example" },
  { address = "198.51.100.21", ehlo = "m2.marom.example" },
  { address = "203.0.113.22", ehlo = "m3.marom.example" },
]
[pool.kinor]
sources = [{ address = "203.0.113.9", ehlo = "k1.marom.example" }]
"""
BRANDS = """\
[brand.marom]
name = { en = "Marom Outdoor" }
domains = ["marom.example"]

[brand.kinor]
name = { en = "Kinor Music" }
domains = ["kinor.example"]
unsigned = "send"
"""
CREDENTIALS = """\
[credential.woo]
class = "transactional"
domains = ["marom.example"]
streams = ["digest"]
password = "sha256:bWFyb20td29v:7tYq2nBv9Kc4Rj0Lw5sHxA7tYq2nBv9Kc4Rj0Lw5sHx"

[credential.mixed]
class = "auto"
domains = ["marom.example", "kinor.example"]
networks = ["10.20.0.17/32"]

[credential.kinor]
class = "service"
brand = "kinor"
domains = ["marom.example", "kinor.example"]
networks = ["10.20.0.18/32"]

[credential.old]
class = "service"
domains = ["marom.example"]
disabled = true
"""
STREAMS = """\
[[stream]]
name = "newsletter"
match.credential = ["woo", "kinor"]
match.header.List-Unsubscribe = "*"
class = "marketing"

[[stream]]
name = "order"
match.credential = "woo"
match.subject = ["order", "*הזמנה*"]
class = "transactional"
also_remove = ["X-Shop-Debug"]

[[stream]]
name = "big"
match.credential = "woo"
match.size = ">100KB"
match.attachment = false

[[stream]]
name = "digest"
class = "service"
brand = "kinor"
"""
ROUTES = """\
[default]
transactional = "transactional"
service = "service"
marketing = "marketing"

[[route]]
match.class = "marketing"
match.recipient_domain = "discard.example"
discard = true

[[route]]
match.class = ["service", "marketing"]
match.brand = "kinor"
pool = "kinor"

[[route]]
match.class = "marketing"
match.recipient_domain = "archive.example"
next_hop = "10.0.0.9:2525"
"""
FILES = {
    "config/postlane.toml": CONFIG,
    "config/pools.toml": POOLS,
    "policies/brands.toml": BRANDS,
    "policies/credentials.toml": CREDENTIALS,
    "policies/streams.toml": STREAMS,
    "policies/routes.toml": ROUTES,
}


def company(folder: Path) -> Path:
    """Its config/, with keys for marom.example, and policies/, in `folder`."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for key in both_keys("marom.example"):
        (folder / "config" / "dkim").mkdir(exist_ok=True)
        write_private_key(folder / "config" / "dkim" / key.domain / f"{key.selector}.pem", key.private)
    return folder


RECEIPT = """\
From: Marom <shop@marom.example>
To: Dana <dana@gmail.com>
Subject: Your order 77

Hi Dana,

thank you for your order 77. Your payment was received.

Tent for two    1    240.00
Total                240.00

Your invoice is attached to your account. Your order will be shipped tomorrow.
"""
PROMOTION = """
Weekend sale: 20 % off all tents until Sunday! Shop now.
Special offer: free shipping on all sleeping bags, only this week. Do not miss it, buy today and save 50 %.
New: our summer collection, up to 30 % discount. Discover the deals.
"""
NEWSLETTER = """\
From: Marom <news@marom.example>
To: dana@gmail.com
Subject: Summer sale: up to 50 % off
List-Unsubscribe: <https://marom.example/u/1>

Our summer sale has begun: up to 50 % off tents and sleeping bags. Shop now, only until Sunday!

Special offer for subscribers: free shipping. Discover our new collection.

You receive this newsletter because you subscribed. Unsubscribe: https://marom.example/u/1
"""
RECEIPT_HE = """\
From: מרום <shop@marom.example>
To: dana@walla.co.il
Subject: הזמנה מספר 77 התקבלה

שלום דנה,

תודה על הזמנתך. הזמנה מספר 77 התקבלה והתשלום אושר.

אוהל זוגי 240.00
סה"כ לתשלום 240.00

קבלה וחשבונית מצורפות. המשלוח יצא מחר.
"""
PROMOTION_HE = """
מבצע סוף שבוע! 20% הנחה על כל האוהלים עד יום ראשון. קנו עכשיו!
הטבה מיוחדת: משלוח חינם על כל שקי השינה. אל תפספסו, לזמן מוגבל, 50% הנחה.
קולקציית הקיץ החדשה: עד 30% הנחה. לפרטים נוספים לחצו כאן.
"""
NEWSLETTER_HE = """\
From: מרום <news@marom.example>
To: dana@walla.co.il
Subject: מבצע קיץ: עד 50% הנחה
List-Unsubscribe: <https://marom.example/u/1>

מבצע הקיץ התחיל: עד 50% הנחה על אוהלים ושקי שינה. קנו עכשיו, רק עד יום ראשון!

הטבה מיוחדת למנויים: משלוח חינם. גלו את הקולקציה החדשה.

קיבלת הודעה זו כי נרשמת לניוזלטר שלנו. להסרה מרשימת התפוצה: https://marom.example/u/1
"""
# So much of it that the evidence calls it marketing.
BURIED = RECEIPT.replace("Your order 77\n", "Your order 77, and 20 % off tents\n").replace("Your invoice is", "It is")


class Node:
    """The company's files as they are in force on a node that does not run, and what it recorded."""

    def __init__(self, folder: Path, now: int) -> None:
        """`now` in ms."""
        self.folder = company(folder)
        self.now = now
        self._ids = Ids("relay-1", 0, lambda: self.now)
        self.put_in_force()

    def put_in_force(self) -> str:
        """The files as they are now; their version."""
        data, config = self.folder / "data", self.folder / "config"
        of_config, of_policies = contents(config), contents(self.folder / "policies")
        keys, _ = read_keys(config / "dkim")
        of_config[KEYS] = states_text((key.domain, key.selector, key.state) for key in keys).encode()
        versions = fingerprint(of_policies), fingerprint(of_config)
        Store(data, "policies").keep(versions[0], of_policies)
        Store(data, "config").keep(versions[1], of_config)
        write_decision(data, Decision(*versions, self.now, "noa", "reload"))
        return versions[0]

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def accepted(self, *recipients: str, **facts: Any) -> str:
        """The events of a message that was taken; its id."""
        about = {
            "type": "accepted",
            "id": self._ids.next(),
            "policies": "3f9a1c",
            "credential": "woo",
            "brand": "marom",
            "stream": "order",
            "class": "transactional",
            "sender": "shop@marom.example",
            "from": "shop@marom.example",
            "subject": "Your order 77",
            "size": 900,
            "rule": "policies/streams.toml:7",
            "headers": {"list-unsubscribe": []},
            **facts,
        }
        for number, recipient in enumerate(recipients or ("dana@gmail.com",)):
            domain = recipient.rpartition("@")[2]
            self.event(**{"rcpt": number, "recipient": recipient, "domain": domain} | about)
        return str(about["id"])

    def event(self, **facts: Any) -> None:
        folder = self.folder / "data" / "events"
        folder.mkdir(parents=True, exist_ok=True)
        about = {"time": iso(self.now), "event_id": self._ids.next(), "node": "relay-1", **facts}
        with (folder / f"{hour_of(self.now)}.0.jsonl").open("ab") as out:
            out.write(orjson.dumps(about) + b"\n")
