"""Validators of secrets: checksums, structure, entropy, and what gives a placeholder away.

A validator gets the candidate, some text before and some after it, and returns a factor on the confidence.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

Validator = Callable[[str, str, str], float]

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
UNSURE = 0.85
"""The factor for a right shape whose checksum is wrong: vendors change their formats, so it still counts."""


def is_placeholder(value: str) -> bool:
    """Whether a value is an example, a blank to fill in, a variable, or masked."""
    if _PLACEHOLDER.search(value) or _REPEATED.search(value):
        return True
    return _sequential(value) > 0.6 * len(value)


def entropy(value: str) -> float:
    """Shannon entropy in bits per character."""
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values()) if value else 0.0


def random_token(value: str, _before: str, _after: str) -> float:
    """A token behind a vendor's prefix: no placeholder, and as mixed as chance makes it."""
    tail = value[max(value.rfind("_", 0, 16), value.rfind("-", 0, 12)) + 1 :] or value
    mixed = re.search("[0-9]", tail) or (re.search("[a-z]", tail) and re.search("[A-Z]", tail))
    if is_placeholder(value) or not mixed:
        return 0.0
    return float(entropy(tail) >= min(2.8, 0.62 * math.log2(max(len(tail), 2))))


def github(value: str, before: str, after: str) -> float:
    """The last six characters of a GitHub token are the CRC-32 of the thirty before them, in base 62."""
    body, check = value[4:-6], value[-6:]
    if base62(zlib.crc32(body.encode())).rjust(6, "0") == check:
        return 1.0
    return UNSURE * random_token(value, before, after)


def npm(value: str, before: str, after: str) -> float:
    """Npm tokens carry GitHub's checksum."""
    return github(value, before, after)


def aws_key_id(value: str, _before: str, _after: str) -> float:
    """Sixteen characters of base 32 behind the prefix; other letters and digits count for less."""
    if is_placeholder(value) or entropy(value[4:]) < 2.5:
        return 0.0
    return 1.0 if re.fullmatch(r"[A-Z2-7]{16}", value[4:]) else UNSURE


def jwt(value: str, _before: str, _after: str) -> float:
    """The header decodes to an object with `alg` or `typ`, the body to an object."""
    header, body = (_json_part(part) for part in value.split(".")[:2])
    if not isinstance(header, dict) or not ({"alg", "typ", "enc"} & header.keys()):
        return 0.0
    return 1.0 if isinstance(body, dict) else UNSURE


OPENSSH = "b3BlbnNzaC1rZXktdjE"
"""How the body of every OpenSSH key begins: its magic word, in base64."""
LEAST_OPENSSH = 200


def pem(value: str, _before: str, _after: str) -> float:
    """A private key block with a body, not only the line that begins one."""
    body = re.sub(r"-----[^-]+-----|\\n|\s", "", value)
    if body.startswith(OPENSSH) and len(body) > LEAST_OPENSSH:
        return 1.0  # zeros in its head read as AAAAAAAA, which placeholders have too
    return float(len(body) >= 40 and not is_placeholder(body[:200]) and "..." not in body)


def connection(value: str, _before: str, _after: str) -> float:
    """The password inside a URL; templates, stars and the word itself are none."""
    weak = value.lower() in {
        "password",
        "pass",
        "passwd",
        "pwd",
        "secret",
        "pw",
        "user",
        "token",
        "dbpassword",
    }
    return 0.0 if weak or is_placeholder(value) or value[:1] in "$<{[%*" else 1.0


def assigned(value: str, _before: str, after: str) -> float:
    """A value given to a name like `api_key`: long and mixed, and neither prose, a path nor a call."""
    if is_placeholder(value) or _NOT_A_VALUE.search(value) or after.startswith(("(", "<")):
        return 0.0
    classes = sum(bool(re.search(c, value)) for c in ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]"))
    if _UUID.fullmatch(value):
        return UNSURE
    if len(value) >= 16 and entropy(value) >= 3.0 and re.search("[0-9]", value):
        return 1.0
    return 1.0 if len(value) >= 24 and entropy(value) >= 3.8 and classes >= 2 else 0.0


def password(value: str, before: str, after: str) -> float:
    """A value given to a name like `password`: two classes of characters at least, and no word of prose."""
    value = value.rstrip(".,;:!?")
    if is_placeholder(value) or _NOT_A_VALUE.search(value) or value.lower() in _WORDS or after[:1] == "(":
        return 0.0
    classes = sum(bool(re.search(c, value)) for c in ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]"))
    quoted = before.endswith(('"', "'"))
    return 1.0 if classes >= 3 or (classes >= 2 and (quoted or len(value) >= 8)) else 0.0


def high_entropy(value: str, before: str, _after: str) -> float:
    """A long token after a word such as `secret`, with the entropy of chance and not the hash of a file."""
    if is_placeholder(value) or _HASH_CONTEXT.search(before.lower()):
        return 0.0
    floor = 3.0 if re.fullmatch(r"[0-9a-fA-F]+", value) else 4.0
    return float(entropy(value) >= floor and re.search("[0-9]", value) is not None)


def base62(number: int) -> str:
    """A number in base 62, digits first, then capitals, then small letters."""
    digits = ""
    while number:
        number, rest = divmod(number, 62)
        digits = _BASE62[rest] + digits
    return digits


def _json_part(part: str) -> object:
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError):
        return None


def _sequential(value: str) -> int:
    """The most characters in a row that count up by one."""
    best = run = 1
    for one, two in pairwise(value):
        run = run + 1 if ord(two) - ord(one) == 1 or (one, two) in {("9", "0"), ("z", "0"), ("z", "1")} else 1
        best = max(best, run)
    return best


_PLACEHOLDER = re.compile(
    r"(?i)example|xxxx|\*\*\*|\.\.\.|…|placeholder|change[-_ ]?me|your[-_a-z]|[-_]here\b|redacted|\bdummy|"
    r"\bsample|\bfake[-_]|"
    r"<[a-z_ -]+>|\$\{|\$\(|\{\{|%\(|\binsert[-_]|replace[-_]?me|\btodo\b|deadbeef|0000000|notreal|"
    r"not[-_]a[-_]real|mysecret\b|test[-_]?key\b"
)
_REPEATED = re.compile(r"(.)\1{6,}|(..)\2{5,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NOT_A_VALUE = re.compile(
    r"(?i)^(?:https?://|/|\./|\.\./|~/|[a-z]:\\|os\.|process\.env|env\.|"
    r"env\[|getenv|config[.\[]|settings\.|self\.|this\.|request\.|"
    r"args\.|vault:|secret(?:s)?[.:/]|arn:|\$|%|null|none|true|false|undefined|string|str\b|int\b)|\(\)|"
    r"\($|[(\[{].*[)\]}]|::|->|^[a-z_]+(?:\.[a-z_]+)+$"
)
_HASH_CONTEXT = re.compile(
    r"sha-?\d|md5|checksum|digest|integrity|commit|etag|hash|fingerprint|revision|thumbprint|uuid|blob|tree "
)
_WORDS = frozenset((
    "required", "optional", "string", "password", "passwd", "secret", "incorrect", "invalid", "expired",
    "changed", "reset", "forgotten", "none", "null", "true", "false", "username", "correct", "wrong",
    "protected", "policy", "manager", "field", "input", "hidden", "text", "number", "boolean", "object",
    "undefined", "default", "empty",
))  # fmt: skip

VALIDATORS: dict[str, Validator] = {
    "token": random_token,
    "github": github,
    "npm": npm,
    "aws_key_id": aws_key_id,
    "jwt": jwt,
    "pem": pem,
    "connection": connection,
    "assigned": assigned,
    "password": password,
    "high_entropy": high_entropy,
}
