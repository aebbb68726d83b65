"""Validators of personal data, and redaction: a number is a card or an IBAN only if its arithmetic agrees.

A validator gets the candidate, some text before and some after it, and returns a factor on the confidence.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable

from rune.policy.scanners.finding import Finding

Validator = Callable[[str, str, str], float]


def redact(text: str, findings: Iterable[Finding]) -> str:
    """The text with each secret and personal datum replaced by its kind, as in `[SSN]`."""
    parts: list[str] = []
    at = 0
    for finding in sorted((f for f in findings if f.category), key=lambda f: (f.start, -f.end)):
        if finding.end <= at:
            continue
        if finding.start >= at:
            parts.append(text[at : finding.start])
            parts.append(f"[{(finding.category or '').upper()}]")
        at = finding.end
    return "".join(parts) + text[at:]


def ssn(value: str, before: str, _after: str) -> float:
    """Area not 000, 666 or 9xx, group not 00, serial not 0000; bare digits need the words before them."""
    digits = _digits(value)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in {"000", "666"} or area[0] == "9" or group == "00" or serial == "0000":
        return 0.0
    if digits in {"123456789", "078051120", "219099999"} or len(set(digits)) == 1:
        return 0.5
    told = _SSN_WORDS.search(before.lower()) is not None
    if _OTHER_NUMBER.search(before.lower()) and not told:
        return 0.0
    if value == digits:
        return 1.0 if told else 0.0
    return 1.0 if told or "-" in value else 0.75


def itin(value: str, before: str, _after: str) -> float:
    """A taxpayer number begins with 9; its group is 50-65, 70-88, 90-92 or 94-99."""
    digits = _digits(value)
    group = int(digits[3:5])
    good = 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99
    if not good or (value == digits and "itin" not in before.lower()):
        return 0.0
    return 0.0 if _OTHER_NUMBER.search(before.lower()) else 1.0


def credit_card(value: str, before: str, after: str) -> float:
    """Luhn's check, a known issuer, and the length that issuer uses."""
    digits = _digits(value)
    if not luhn(digits) or len(set(digits)) == 1:
        return 0.0
    for prefix, lengths in _ISSUERS:
        if prefix.match(digits) and len(digits) in lengths:
            break
    else:
        return 0.0
    if before.endswith(tuple("._/=-+#")) and before[-2:-1].isalnum() and not _field(before, _CARD_WORDS):
        return 0.0
    grouped = value != digits
    told = _CARD_WORDS.search((before + after).lower()) is not None
    return 1.0 if grouped or told else 0.8


def _field(before: str, words: re.Pattern[str]) -> bool:
    """The value belongs to a field whose name is one of the words, as in `card=`."""
    name = _FIELD.search(before.lower()[-24:])
    return name is not None and words.search(f" {name[1].replace('_', ' ')} ") is not None


def luhn(digits: str) -> bool:
    """Whether a string of digits passes Luhn's check."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        digit = int(char) * (2 if place % 2 else 1)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


def iban(value: str, _before: str, _after: str) -> float:
    """The length of the country and a remainder of 1 modulo 97."""
    plain = re.sub(r"[ -]", "", value).upper()
    length = _IBAN_LENGTHS.get(plain[:2])
    for end in (len(plain), length or 0):
        body = plain[:end]
        if len(body) == length and int("".join(str(int(c, 36)) for c in body[4:] + body[:4])) % 97 == 1:
            return 1.0
    return 0.0


def email(value: str, before: str, after: str) -> float:
    """A domain that can exist; example domains count, since people write to them too."""
    local, _, domain = value.rpartition("@")
    ending = domain.rsplit(".", 1)[-1].lower()
    if ending in _FILE_ENDINGS or ".." in value or local[-1:] == "." or domain.startswith(("-", ".")):
        return 0.0
    if (
        before[-3:] == "://"
        or before.endswith(("git+ssh://", "ssh://"))
        or (local == "git" and after[:1] == ":")
    ):
        return 0.0
    return 1.0


def phone(value: str, before: str, after: str) -> float:
    """A number with the shape of one in use, that no date, amount, identifier or timestamp explains."""
    digits = _digits(value)
    near = before.lower()[-32:]
    told = _PHONE_WORDS.search(near) is not None
    if not 7 <= len(digits) <= 15 or len(set(digits)) == 1:
        return 0.0
    if _glued(before, after) and not _field(before, _PHONE_WORDS):
        return 0.0
    if not told and (
        _OTHER_NUMBER.search(near) or _DATE.search(value) or after.lstrip().startswith(tuple("%€$£°"))
    ):
        return 0.0
    if re.match(r"\+|00[1-9]", value):
        return 1.0 if len(digits) >= 8 else 0.0
    if _NORTH_AMERICAN.fullmatch(value):
        return 1.0 if told or not value.isdigit() else 0.0
    if told:
        return 1.0
    return 0.85 if value.startswith(("0", "(0")) and len(digits) in {10, 11} and not value.isdigit() else 0.0


def ip_address(value: str, before: str, after: str) -> float:
    """An address of a host in the world: not private, loopback or reserved, and not a version number."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return 0.0
    if _VERSION.search(before.lower()[-24:]) or before.endswith(tuple("v-_.<>~^")):
        return 0.0
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
        return 0.0
    if address.version == 6:
        return 1.0 if value.count(":") >= 2 and len(value) >= 6 else 0.0
    if any(address in network for network in _PRIVATE):
        return 0.0
    octets = value.split(".")
    if (octets[-1] == "0" and after[:1] != "/") or max(map(int, octets)) < _VERSIONLIKE:
        return 0.0
    return 1.0 if not address.is_reserved else 0.0


def passport(value: str, before: str, _after: str) -> float:
    """A passport has no checksum in print, so the word must stand close before it."""
    digits = sum(c.isdigit() for c in value)
    return float(digits >= 5 and _PASSPORT_WORDS.search(before.lower()) is not None)


def _digits(value: str) -> str:
    return "".join(c for c in value if c.isdigit())


def _glued(before: str, after: str) -> bool:
    """Whether a number is a part of something longer: an identifier, a path, a decimal, an address."""
    if before[-1:].isalnum() or before.endswith(tuple("_/\\.#&=@-")) or re.search(r"\d,$", before):
        return True
    return after[:1].isalnum() or after.startswith(tuple("_@/\\")) or re.match(r"[.,:-]\d", after) is not None


_SSN_WORDS = re.compile(r"\bssn\b|social[ -]?security|\bss ?(?:#|no|number)|\bsocial\b|taxpayer id")
_CARD_WORDS = re.compile(r"\bcard|visa|master|amex|american express|credit|debit|payment|cvv|\bpan\b|expir")
_PHONE_WORDS = re.compile(
    r"phone|\bcall(?:ing)?\b|\btel\b|tel[.:]|mobile|\bcell|\bfax|whats ?app|\btext\b|\bsms|dial|"
    r"reach \w+ (?:at|on)|contact|hotline|"
    r"telefon|handy|rufnummer|téléphone|portable|teléfono|móvil|telefone|celular|telefono|cellulare|"
    r"telefoon|телефон|电话|電話|手机|전화"
)
_OTHER_NUMBER = re.compile(
    r"(?:order|invoice|ticket|tracking|case|ref(?:erence)?|id|sku|isbn|issn|serial|part|version|build|"
    r"rev(?:ision)?|model|account|acct|"
    r"policy|claim|zip|timestamp|epoch|pid|port|error|code|rfc|cve|lot|batch|item|upc|ean|po|bestellung|"
    r"rechnung|nr|no|num(?:ber)?|"
    r"hash|commit|doi|arxiv|customer|patent|uuid|row|line|page|size|bytes|routing)[ \t]*(?:no|nr|id|"
    r"num(?:ber)?|code)?[.:#= \t\"'-]*$"
)
_DATE = re.compile(
    r"^(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}|^\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d\d|"
    r"^(?:19|20)\d\d[ -](?:19|20)\d\d$"
)
_NORTH_AMERICAN = re.compile(
    r"(?:1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-]?)[2-9]\d\d[ .-]?\d{4}|[2-9]\d\d[.-]\d{4}"
)
_VERSIONLIKE = 20
"""Four numbers all smaller than this are more likely a version."""
_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_FIELD = re.compile(r"([a-z_]{2,20})=$")
_VERSION = re.compile(r"(?:version|ver|release|firmware|build|upgrade[d]? to|v)[ .:=]*$")
_PASSPORT_WORDS = re.compile(
    r"pass(?:port|eport)|reisepass|pasaporte|passaporto|passaporte|paspoort|паспорт|护照|旅券|여권"
)
_FILE_ENDINGS = frozenset(
    (
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "js",
        "ts",
        "css",
        "py",
        "json",
        "yaml",
        "yml",
        "html",
        "md",
        "txt",
        "lock",
    )
)
_ISSUERS = (
    (re.compile(r"4"), {13, 16, 19}),
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), {16}),
    (re.compile(r"3[47]"), {15}),
    (re.compile(r"6(?:011|4[4-9]|5)"), {16, 19}),
    (re.compile(r"62|81"), {16, 17, 18, 19}),
    (re.compile(r"3(?:0[0-5]|[689])"), {14, 16}),
    (re.compile(r"35(?:2[89]|[3-8])"), {16, 17, 18, 19}),
    (re.compile(r"5018|5020|5038|5893|6304|6759|676[1-3]"), set(range(12, 20))),
)
_IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27"
        "GB22GE22GI23GL18"
        "GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21MC27MD24ME22MK19MR27MT31"
        "MU30NL18NO15PK24"
        "PL28PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20",
    )
}

VALIDATORS: dict[str, Validator] = {
    "ssn": ssn,
    "itin": itin,
    "credit_card": credit_card,
    "iban": iban,
    "email": email,
    "phone": phone,
    "ip_address": ip_address,
    "passport": passport,
}
