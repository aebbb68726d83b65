"""The network in JAX, as it is trained; `rune.policy.scanners.network` is the same one as it is run."""

from __future__ import annotations

import json
import random
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from texts import FAMILIES, Text

from rune.policy.scanners import network as runtime
from rune.policy.scanners import tokens

LENGTHS = (24, 48, 80, 128)
"""Windows are padded to one of these; the last is the longest that is read at once."""
SIZE, CHANNELS, INNER = 48, 64, 32
BATCH = 96

Params = dict[str, Any]


class Encoded:
    """Windows as rows of the table, with labels; texts longer than a window give one window here."""

    def __init__(self, texts: Sequence[Text], windows: Sequence[Sequence[str]]) -> None:
        known: dict[str, np.ndarray] = {}
        self.rows = [
            np.stack([_rows(word, known) for word in words])
            if words
            else np.zeros((1, tokens.SLOTS), np.uint32)
            for words in windows
        ]
        self.label = np.array([text.is_attack for text in texts], np.float32)
        self.weight = np.array([text.weight for text in texts], np.float32)
        self.family = np.array(
            [FAMILIES.index(text.family) if text.family else 0 for text in texts], np.int32
        )

    def batches(self, chance: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
        """Every window once, in batches of like length, in random order."""
        lengths = np.array([len(rows) for rows in self.rows])
        found: list[np.ndarray] = []
        low = 0
        for high in LENGTHS:
            inside = np.flatnonzero((lengths > low) & (lengths <= high))
            chance.shuffle(inside)
            found += [inside[at : at + BATCH] for at in range(0, len(inside) - BATCH + 1, BATCH)]
            low = high
        for at in chance.permutation(len(found)):
            picked = found[at]
            longest = next(length for length in LENGTHS if length >= lengths[picked].max())
            padded = np.zeros((BATCH, longest, tokens.SLOTS), np.uint32)
            for row, index in enumerate(picked):
                padded[row, : lengths[index]] = self.rows[index]
            yield padded, self.label[picked], self.weight[picked], self.family[picked]


def _rows(word: str, known: dict[str, np.ndarray]) -> np.ndarray:
    found = known.get(word)
    if found is None:
        found = np.zeros(tokens.SLOTS, np.uint32)
        hashes = tokens.hashed(word)
        found[: len(hashes)] = hashes
        known[word] = found
    return found


def window(text: Text, rng: random.Random) -> list[str]:
    """The plain tokens of a text, or of a random window of it that holds the attack, where it is known."""
    found = [(tokens.plain(token), start) for token, start, _ in tokens.cut(text.text)]
    longest = LENGTHS[-1]
    if len(found) <= longest:
        return [word for word, _ in found]
    first = rng.randrange(len(found) - longest + 1)
    if text.at is not None:
        begin, end = (sum(1 for _, place in found if place < at) for at in (text.at, text.at + text.length))
        low, high = max(0, min(end, begin + longest) - longest), max(0, min(begin, len(found) - longest))
        first = rng.randint(min(low, high), max(low, high))
    return [word for word, _ in found[first : first + longest]]


def fresh(seed: int) -> Params:
    """Random weights."""
    keys = jax.random.split(jax.random.PRNGKey(seed), 6)
    normal = jax.random.normal
    width = runtime.WIDTH
    return {
        "table": normal(keys[0], (tokens.ROWS, SIZE)) * 0.1,
        "first": normal(keys[1], (width * SIZE, CHANNELS)) / np.sqrt(width * SIZE),
        "first_bias": jnp.zeros(CHANNELS),
        "second": normal(keys[2], (width * CHANNELS, CHANNELS)) / np.sqrt(width * CHANNELS),
        "second_bias": jnp.zeros(CHANNELS),
        "inner": normal(keys[3], (2 * CHANNELS, INNER)) * 0.1,
        "inner_bias": jnp.zeros(INNER),
        "deep": normal(keys[4], (INNER,)) * 0.1,
        "deep_bias": jnp.zeros(1),
        "family": normal(keys[5], (INNER, len(FAMILIES))) * 0.1,
        "family_bias": jnp.zeros(len(FAMILIES)),
        "wide": jnp.zeros(1 << runtime.WIDE_BITS),
        "wide_bias": jnp.zeros(1),
    }


def forward(
    params: Params, rows: jax.Array, drop: jax.Array | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Deep, wide and families' log-odds; `drop` forgets words and tokens at random."""
    there = (rows > 0).astype(jnp.float32)
    live = (rows[:, :, 0] > 0).astype(jnp.float32)
    kept = live
    if drop is not None:
        one, two, three = jax.random.split(drop, 3)
        there = there.at[:, :, 0].multiply(jax.random.bernoulli(one, 0.8, live.shape))
        kept = live * jax.random.bernoulli(two, 0.92, live.shape)
        there = there * kept[..., None]
        kept = kept * jax.random.bernoulli(three, 0.7, live.shape)
    vectors = params["table"][rows] * there[..., None]
    words = (
        vectors[:, :, 0] + vectors[:, :, 1:].sum(2) / jnp.maximum((rows[:, :, 1:] > 0).sum(2), 1)[..., None]
    )
    hidden = _convolve(words, params["first"], params["first_bias"], dilation=1) * live[..., None]
    hidden = hidden + _convolve(hidden, params["second"], params["second_bias"], dilation=runtime.DILATION)
    hidden = hidden * live[..., None]
    count = jnp.maximum(live.sum(1), 1)
    pooled = jnp.concatenate([hidden.max(1), hidden.sum(1) / count[:, None]], 1)
    inner = jax.nn.relu(pooled @ params["inner"] + params["inner_bias"])
    flat = (params["wide"][_pairs(rows[:, :, 0])] * kept[..., None]).sum((1, 2)) / jnp.sqrt(
        jnp.maximum(count, 8)
    )
    return (
        inner @ params["deep"] + params["deep_bias"][0],
        flat + params["wide_bias"][0],
        inner @ params["family"] + params["family_bias"],
    )


def _pairs(rows: jax.Array) -> jax.Array:
    two = jnp.pad(rows[:, 1:], ((0, 0), (0, 1)))
    three = jnp.pad(rows[:, 2:], ((0, 0), (0, 2)))
    number = jnp.uint32
    kinds = (
        rows,
        rows * number(3) + two * number(0x27D4EB2F) + number(1),
        rows * number(5) + three * number(0x165667B1) + number(2),
    )
    return jnp.stack([kind * number(0x9E3779B1) >> number(32 - runtime.WIDE_BITS) for kind in kinds], axis=2)


def _convolve(vectors: jax.Array, weights: jax.Array, bias: jax.Array, *, dilation: int) -> jax.Array:
    kernel = weights.reshape(runtime.WIDTH, -1, weights.shape[-1])
    made = jax.lax.conv_general_dilated(
        vectors, kernel, (1,), "SAME", rhs_dilation=(dilation,), dimension_numbers=("NWC", "WIO", "NWC")
    )
    return jax.nn.relu(made + bias)


def _loss(params: Params, batch: tuple[jax.Array, ...], key: jax.Array) -> jax.Array:
    rows, label, weight, family = batch
    deep, wide, families = forward(params, rows, key)
    target = label * 0.97 + 0.015
    losses = optax.sigmoid_binary_cross_entropy(deep, target) + optax.sigmoid_binary_cross_entropy(
        wide, target
    )
    kinds = optax.softmax_cross_entropy_with_integer_labels(families, family) * label
    return (weight * (losses + 0.2 * kinds)).mean()


def train(params: Params, data: Encoded, *, epochs: int, rate: float, seed: int) -> Params:
    """The weights after some epochs, with a rate that falls to nothing."""
    chance, key = np.random.default_rng(seed), jax.random.PRNGKey(seed + 1)
    steps = epochs * (len(data.rows) // BATCH)
    schedule = optax.cosine_onecycle_schedule(max(steps, 10), rate, pct_start=0.1)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-3))
    state = optimizer.init(params)

    @jax.jit
    def step(
        params: Params, state: Any, batch: tuple[jax.Array, ...], *, key: jax.Array
    ) -> tuple[Params, Any, jax.Array]:
        loss, slopes = jax.value_and_grad(_loss)(params, batch, key)
        updates, state = optimizer.update(slopes, state, params)
        return optax.apply_updates(params, updates), state, loss

    began = time.monotonic()
    for epoch in range(epochs):
        losses: list[Any] = []
        for batch in data.batches(chance):
            key, now = jax.random.split(key)
            params, state, loss = step(params, state, batch, key=now)
            losses.append(loss)
        shown = float(np.mean([float(x) for x in losses])) if losses else 0.0
        sys.stderr.write(
            f"epoch {epoch + 1}: {len(losses)} steps, loss {shown:.4f}, {time.monotonic() - began:.0f} s\n"
        )
    return params


def write(params: Params, path: Path, header: dict[str, Any], *, blend: float) -> None:
    """One file: a magic word, a JSON header, then the arrays; the tables as bytes with scales."""
    table = np.array(params["table"], np.float32)
    table[0] = 0
    scales = np.maximum(np.abs(table).max(1), 1e-6) / 127
    wide = np.asarray(params["wide"], np.float32)
    wide_scale = float(max(np.percentile(np.abs(wide), 99.99), 1e-6) / 127)
    arrays: dict[str, np.ndarray] = {
        "table": np.round(table / scales[:, None]).astype(np.int8),
        "scales": scales.astype(np.float16),
        "wide": np.clip(np.round(wide / wide_scale), -127, 127).astype(np.int8),
        "blend": np.array([blend], np.float32),
    }
    small = [name for name in params if name not in arrays]
    arrays |= {name: np.asarray(params[name], np.float32) for name in small}
    header = header | {"wide_scale": wide_scale}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_packed(header, arrays))


def _packed(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes of a file; the header says where each array begins, so it is made until it stops growing."""
    begin = 4_096
    places: dict[str, Any] = {}
    at = begin
    for name, array in arrays.items():
        places[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": at}
        at += -(-array.nbytes // runtime.ALIGN) * runtime.ALIGN
    text = json.dumps(header | {"arrays": places}, sort_keys=True).encode()
    head = runtime.MAGIC + struct.pack("<I", len(text)) + text
    if len(head) > begin:
        raise ValueError("the header is longer than its place")
    made = bytearray(at)
    made[: len(head)] = head
    for name, array in arrays.items():
        offset = places[name]["offset"]
        made[offset : offset + array.nbytes] = array.tobytes()
    return bytes(made)
