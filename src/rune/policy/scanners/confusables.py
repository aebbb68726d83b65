"""Letters that look like Latin ones beyond what NFKC folds, and characters that show nothing."""

from __future__ import annotations

import re

_LOOKALIKES = {
    "a": "аɑαаａ",
    "b": "ЬьƄβᏏ",
    "c": "сϲᴄ",
    "d": "ԁɗᏧđ",
    "e": "еєεҽ",
    "f": "ƒғ",
    "g": "ɡԍց",
    "h": "һհᏂ",
    "i": "іɩιıӏ",
    "j": "јϳ",
    "k": "кκᴋ",
    "l": "ⅼℓǀłŁ",
    "m": "мᴍ",
    "n": "пոηո",
    "o": "оοσօøØ",
    "p": "рρ",
    "q": "ԛգ",
    "r": "гᴦ",
    "s": "ѕʂꜱ",
    "t": "тτᴛ",
    "u": "υսᴜ",
    "v": "ѵνᴠ",
    "w": "ԝѡωᴡ",
    "x": "хχ",
    "y": "уүγʏ",
    "z": "ᴢʐ",
    "A": "АΑᎪ",
    "B": "ВΒᏴ",
    "C": "СϹᏟ",
    "E": "ЕΕᎬ",
    "F": "Ϝ",
    "G": "ԌᏀ",
    "H": "НΗᎻ",
    "I": "ІΙӀ",
    "J": "ЈᎫ",
    "K": "КΚᏦ",
    "L": "ᏞⅬ",
    "M": "МΜᎷ",
    "N": "Ν",
    "O": "ОΟՕ",
    "P": "РΡᏢ",
    "S": "ЅՏᏚ",
    "T": "ТΤᎢ",
    "V": "ѴᏙ",
    "W": "ԜᎳ",
    "X": "ХΧ",
    "Y": "УΥҮ",
    "Z": "ΖᏃ",
    "-": "‐‑‒–—−",
    "'": "‘’ʼ",
    '"': "“”",
}
CONFUSABLES: dict[int, str] = {ord(char): plain for plain, chars in _LOOKALIKES.items() for char in chars}

INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
