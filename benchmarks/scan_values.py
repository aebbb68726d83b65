"""How many made-up secrets and personal data L1 finds, kind by kind, and how often it errs on ordinary text.

    python benchmarks/scan_values.py [DATA_FOLDER] [--each N] [--look KIND]

Values are made at random from the public descriptions of their forms, checksums included, and put into
lines of configuration, code, logs, JSON and chat. The folder holds `benign.jsonl.gz`, one object a line with
a `text`.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import random
import string
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

from rune import Shield

ALNUM = string.ascii_letters + string.digits
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
HEX = "0123456789abcdef"
URLSAFE = ALNUM + "-_"
Make = Callable[[random.Random], str]


def chars(alphabet: str, count: int) -> Make:
    return lambda chance: "".join(chance.choices(alphabet, k=count))


def form(template: str, **parts: Make) -> Make:
    """The template with each part made anew."""
    return lambda chance: template.format(**{name: part(chance) for name, part in parts.items()})


def checked(prefix: str) -> Make:
    """GitHub's and npm's form: thirty characters and their CRC-32 in base 62."""

    def make(chance: random.Random) -> str:
        body, rest, sums = "".join(chance.choices(ALNUM, k=30)), 0, ""
        rest = zlib.crc32(body.encode())
        for _ in range(6):
            rest, digit = divmod(rest, 62)
            sums = BASE62[digit] + sums
        return f"{prefix}{body}{sums}"

    return make


def jwt(chance: random.Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {"sub": str(chance.randrange(10**9)), "iat": chance.randrange(10**9, 2 * 10**9)}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{chars(URLSAFE, 43)(chance)}"


def pem(chance: random.Random) -> str:
    lines = "\n".join(chars(ALNUM + "+/", 64)(chance) for _ in range(8))
    kind = chance.choice(["RSA ", "EC ", "", "OPENSSH "])
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def connection(chance: random.Random) -> str:
    scheme = chance.choice(["postgres", "postgresql", "mysql", "mongodb+srv", "redis", "amqp"])
    user, password = chance.choice(["app", "svc", "root"]), chars(ALNUM, 14)(chance)
    return f"{scheme}://{user}:{password}@db-3.prod.internal:5432/shop"


def assigned(chance: random.Random) -> str:
    name = chance.choice(["DB_PASSWORD", "api_key", "client_secret", "SECRET_KEY", "auth_token", "passwd"])
    value = chars(ALNUM, chance.choice([20, 24, 32, 40]))(chance)
    return chance.choice(["{}={}", '{} = "{}"', '"{}": "{}"', "{}: {}", "export {}='{}'"]).format(name, value)


SECRETS: dict[str, Make] = {
    "aws access key": form("AKIA{a}", a=chars(string.ascii_uppercase + "234567", 16)),
    "aws secret": form("aws_secret_access_key = {a}", a=chars(ALNUM + "+/", 40)),
    "github": checked("ghp_"),
    "github app": checked("ghs_"),
    "github fine-grained": form("github_pat_{a}_{b}", a=chars(ALNUM, 22), b=chars(ALNUM, 59)),
    "gitlab": form("glpat-{a}", a=chars(URLSAFE, 20)),
    "slack bot": form(
        "xoxb-{a}-{b}-{c}", a=chars("123456789", 12), b=chars("123456789", 13), c=chars(ALNUM, 24)
    ),
    "slack webhook": form(
        "https://hooks.slack.com/services/T{a}/B{b}/{c}",
        a=chars(string.ascii_uppercase + "123", 10),
        b=chars(string.ascii_uppercase + "123", 10),
        c=chars(ALNUM, 24),
    ),
    "stripe": form("sk_live_{a}", a=chars(ALNUM, 24)),
    "stripe restricted": form("rk_live_{a}", a=chars(ALNUM, 99)),
    "openai": form("sk-proj-{a}T3BlbkFJ{b}", a=chars(URLSAFE, 74), b=chars(URLSAFE, 74)),
    "openai old": form("sk-{a}T3BlbkFJ{b}", a=chars(ALNUM, 20), b=chars(ALNUM, 20)),
    "anthropic": form("sk-ant-api03-{a}AA", a=chars(URLSAFE, 93)),
    "google": form("AIza{a}", a=chars(URLSAFE, 35)),
    "azure storage": form("AccountKey={a}==", a=chars(ALNUM + "+/", 86)),
    "azure client": form("{a}8Q~{b}", a=chars(ALNUM, 3), b=chars(ALNUM + "-_.~", 34)),
    "twilio": form("TWILIO_API_KEY=SK{a}", a=chars(HEX, 32)),
    "sendgrid": form("SG.{a}.{b}", a=chars(URLSAFE, 22), b=chars(URLSAFE, 43)),
    "npm": checked("npm_"),
    "pypi": form("pypi-AgEIcHlwaS5vcmc{a}", a=chars(URLSAFE, 150)),
    "huggingface": form("hf_{a}", a=chars(ALNUM, 34)),
    "digitalocean": form("dop_v1_{a}", a=chars(HEX, 64)),
    "shopify": form("shpat_{a}", a=chars(HEX, 32)),
    "vault": form("hvs.{a}", a=chars(URLSAFE, 95)),
    "telegram": form("{a}:AA{b}", a=chars("123456789", 10), b=chars(URLSAFE, 33)),
    "jwt": jwt,
    "pem": pem,
    "connection": connection,
    "assignment": assigned,
    "bearer": form("Authorization: Bearer {a}", a=chars(ALNUM, 40)),
}


def luhn(prefix: str, length: int) -> Make:
    def make(chance: random.Random) -> str:
        digits = prefix + "".join(chance.choices(string.digits, k=length - len(prefix) - 1))
        doubled = (int(d) * (2 if at % 2 == 0 else 1) for at, d in enumerate(reversed(digits)))
        number = digits + str(-sum(each // 10 + each % 10 for each in doubled) % 10)
        gap = chance.choice(["", " ", "-"]) if length == 16 else ""
        return gap.join(number[at : at + 4] for at in range(0, length, 4)) if gap else number

    return make


def iban(chance: random.Random) -> str:
    country, length = chance.choice([("DE", 18), ("AT", 16), ("NL", 14), ("GB", 18), ("FR", 23), ("ES", 20)])
    body = "".join(chance.choices(string.digits, k=length))
    body = chars(string.ascii_uppercase, 4)(chance) + body[4:] if country in ("NL", "GB") else body
    number = int("".join(str(int(each, 36)) for each in f"{body}{country}00"))
    whole = f"{country}{98 - number % 97:02d}{body}"
    return whole if chance.random() < 0.5 else " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))


def ssn(chance: random.Random) -> str:
    area = chance.choice([*range(1, 666), *range(667, 900)])
    return f"{area:03d}-{chance.randint(1, 99):02d}-{chance.randint(1, 9999):04d}"


def itin(chance: random.Random) -> str:
    group = chance.choice([*range(70, 89), 90, 91, 92, *range(94, 100)])
    return f"9{chance.randint(0, 99):02d}-{group}-{chance.randint(1, 9999):04d}"


def phone(chance: random.Random) -> str:
    area, middle, last = chance.randint(201, 989), chance.randint(200, 999), chance.randint(0, 9999)
    shape = chance.choice(
        ["({}) {}-{:04d}", "{}-{}-{:04d}", "+1 {} {} {:04d}", "+1-{}-{}-{:04d}", "+49 {} {}{:04d}"]
    )
    return shape.format(area, middle, last)


PERSONAL: dict[str, Make] = {
    "ssn": ssn,
    "itin": itin,
    "visa": luhn("4", 16),
    "mastercard": luhn("53", 16),
    "amex": luhn("37", 15),
    "email": form(
        "{a}.{b}@{c}.{d}",
        a=chars(string.ascii_lowercase, 5),
        b=chars(string.ascii_lowercase, 7),
        c=chars(string.ascii_lowercase, 8),
        d=lambda c: c.choice(["com", "org", "co.uk", "at"]),
    ),
    "phone": phone,
    "iban": iban,
    "ipv4": lambda c: (
        f"{c.choice([8, 31, 52, 81, 93, 140, 185, 213])}."
        + ".".join(str(c.randint(1, 254)) for _ in range(3))
    ),
    "ipv6": lambda c: "2001:db8:" + ":".join(f"{c.randint(1, 65535):x}" for _ in range(6)),
    "passport": form("passport no. {a}{b}", a=chars(string.ascii_uppercase, 1), b=chars(string.digits, 8)),
}
NAMED = {
    "ssn": "SSN", "itin": "ITIN", "visa": "card", "mastercard": "card", "amex": "card", "email": "mail",
    "phone": "phone", "iban": "IBAN", "ipv4": "IP", "ipv6": "IP", "passport": "document",
}  # fmt: skip
PLACES = (
    "Why does this fail? {}", "{}", 'config: {{"value": "{}"}}', "2026-03-01T10:00Z INFO start {} ok",
    "client = connect('{}')", "Hi Ann,\n\nhere it is: {}\n\nBest, Bob", "- step 3: use {}, go on", "x={}&y=2",
)  # fmt: skip
ABOUT = (
    "My {} is {}.",
    "{}: {}",
    "Please note the {} {} for the booking.",
    "customer {} {} was updated",
    "{}={}",
)


def main() -> None:
    """Prints the share that is found of each kind, then the errors on ordinary texts."""
    options = _options()
    shield = Shield(events_enabled=False)
    chance = random.Random(11)  # noqa: S311 - repeatable
    for title, makers, flag in (
        ("secrets", SECRETS, "secrets_detected"),
        ("personal data", PERSONAL, "pii_detected"),
    ):
        found = total = 0
        for kind, make in makers.items():
            texts = [_text(kind, make, chance, at=at) for at in range(options.each)]
            missed = [text for text in texts if not getattr(shield.scan_output(text), flag)]
            found, total = found + len(texts) - len(missed), total + len(texts)
            if missed or options.look == kind:
                sys.stdout.write(f"  {kind:24} {100 - 100 * len(missed) / len(texts):6.1f} %\n")
            for text in missed[:5] if options.look == kind else ():
                sys.stdout.write(f"    {text!r}\n")
        sys.stdout.write(f"{title}: {100 * found / total:.2f} % of {total} found\n")
    if options.data is not None:
        _ordinary(shield, options.data / "benign.jsonl.gz")


def _text(kind: str, make: Make, chance: random.Random, *, at: int) -> str:
    value = make(chance)
    if kind in NAMED:
        return ABOUT[at % len(ABOUT)].format(NAMED[kind], value)
    return PLACES[at % len(PLACES)].format(value)


def _ordinary(shield: Shield, path: Path) -> None:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        scans = [shield.scan_output(json.loads(line)["text"]) for line in lines]
    for title, flag in (("secrets", "secrets_detected"), ("personal data", "pii_detected")):
        count = sum(getattr(scan, flag) for scan in scans)
        share = 100 * count / len(scans)
        sys.stdout.write(
            f"{title} in ordinary texts: {count} of {len(scans)} ({share:.3f} %), real ones included\n"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--each", type=int, default=80, help="values of each kind")
    parser.add_argument("--look", default="", help="print what is missed of a kind")
    return parser.parse_args()


if __name__ == "__main__":
    main()
