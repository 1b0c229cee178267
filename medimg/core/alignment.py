"""How alike pictures are once one of two is moved, of thousands of pairs at once.

The middle of one is looked for in the other. Whatever belongs to one picture (means, spreads,
frequencies) is computed once and not once a pair; what is left of a pair are a few small products.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np

# how far the middle of 64×64 pixels is moved to each side: 6 %, in steps of half a pixel
MOVED_PX, STEP_PX = 4, 0.5
# so many of its frequencies are multiplied; what the others may add is known without that
FREQUENCIES = 16
# what is computed together stays in a processor's cache
AT_ONCE, PAIRS_AT_ONCE = 64, 256
LEAST = 1e-6
# a thumbnail's middle is moved down and right from the upper left corner, by half pixels: on one
# axis each step lies on a whole one or between two
HALF_STEPS: tuple[tuple[int, ...], ...] = ((0,), (0, 1), (1,), (1, 2), (2,))
# Float32[5, 3]: the mean of what each step lies on
BETWEEN = np.array([[(p in on) / len(on) for p in range(3)] for on in HALF_STEPS], np.float32)


def thumbnails_moved(
    small: np.ndarray, pairs: np.ndarray, turned: np.ndarray, at_once: int = 512
) -> np.ndarray:
    """Float32[P]: the highest correlation of two thumbnails, one moved by half pixels up to one.

    Args:
        small: UInt8[N, h, w].
        pairs: Int64[P, 2], places in it; turned: Bool[P], the second is looked at in a mirror.
    """
    best = np.full(len(pairs), -1, np.float32)
    seconds, places = np.unique(pairs[:, 1], return_inverse=True)
    lengths = np.empty((len(seconds), len(HALF_STEPS), len(HALF_STEPS)), np.float32)
    # hundreds of thousands of thumbnails are bytes all through: as floats only a few at a time
    for start in range(0, len(seconds), at_once):
        part = slice(start, start + at_once)
        lengths[part] = window_lengths(small[seconds[part]].astype(np.float32))
    # pairs of one picture stand together: its middle is moved once
    order = np.argsort(pairs[:, 0], kind="stable")
    for start in range(0, len(pairs), at_once):
        some = order[start : start + at_once]
        firsts, own = np.unique(pairs[some, 0], return_inverse=True)
        seen, mirror = small[pairs[some, 1]].astype(np.float32), turned[some]
        seen[mirror] = seen[mirror][:, :, ::-1]
        whole = np.matmul(moved_middles(small[firsts])[own], seen.reshape(len(some), -1, 1))
        # a picture between two pixels is their mean, and so is its product
        reached = BETWEEN @ whole.reshape(-1, 3, 3) @ BETWEEN.T
        length = lengths[places[some]]
        length[mirror] = length[mirror][:, :, ::-1]
        best[some] = (reached / length).max(axis=(1, 2))
    return best


def moved_middles(small: np.ndarray) -> np.ndarray:
    """Float32[N, 9, h·w] of UInt8[N, h, w]: each one's middle at each place, zeros around it."""
    tall, wide = small.shape[1] - 2, small.shape[2] - 2
    middles = centred(small[:, 1:-1, 1:-1].astype(np.float32)).reshape(-1, tall, wide)
    frames = np.zeros((len(small), 9, *small.shape[1:]), np.float32)
    for place, (down, right) in enumerate(product(range(3), repeat=2)):
        frames[:, place, down : down + tall, right : right + wide] = middles
    return frames.reshape(len(small), 9, -1)


def window_lengths(pictures: np.ndarray) -> np.ndarray:
    """Float32[N, 5, 5] of Float32[N, h, w]: root of the sum of squares about its mean, of each
    window two smaller, moved by half pixels down and right."""
    tall, wide = pictures.shape[1] - 2, pictures.shape[2] - 2
    # without the mean little is lost where squares are subtracted
    pictures = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    found = np.empty((len(pictures), len(HALF_STEPS), len(HALF_STEPS)), np.float32)
    for down, right in product((0, 1), repeat=2):
        between = pictures if not down else (pictures[:, 1:] + pictures[:, :-1]) / 2
        if right:
            between = (between[:, :, 1:] + between[:, :, :-1]) / 2
        rows, columns = windows(between.shape[1], tall), windows(between.shape[2], wide).T
        sums, squares = rows @ between @ columns, rows @ (between * between) @ columns
        found[:, down::2, right::2] = np.sqrt(
            np.maximum(squares - sums**2 / (tall * wide), LEAST**2)
        )
    return found


@cache
def windows(length: int, size: int) -> np.ndarray:
    """Float32[length - size + 1, length]: which of a row lie in the window at each place."""
    places = np.arange(length) - np.arange(length - size + 1)[:, None]
    return ((places >= 0) & (places < size)).astype(np.float32)


def centred(pixels: np.ndarray) -> np.ndarray:
    """Float32[N, h·w] of mean 0 and length 1."""
    flat = pixels.reshape(len(pixels), pixels.shape[1] * pixels.shape[2])
    flat = flat - flat.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("ij,ij->i", flat, flat))
    return flat / np.maximum(lengths, LEAST)[:, None]


def most_alike_moved(pixels: np.ndarray, pairs: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Float32[P]: what the middle of one reaches at most wherever it lies in the other.

    Their low frequencies are multiplied; all others add no more than the product of their
    lengths (Cauchy and Schwarz). A pair that is below a bound here need not be looked at closer.

    Args:
        pixels: Int16[N, S, S] of mean 0.
        pairs: Int64[P, 2], places in it; turned: Bool[P], the second is looked at in a mirror.
    """
    most = np.empty(len(pairs), np.float32)
    if not len(pairs):
        return most
    firsts, one = np.unique(pairs[:, 0], return_inverse=True)
    # a mirror image is a picture of its own
    seconds, other = np.unique(pairs[:, 1] * 2 + turned, return_inverse=True)
    whole = [of_whole(pixels_of(pixels, some)) for some in portions(seconds)]
    spectra, beyond, lengths = (np.concatenate(one) for one in zip(*whole, strict=True))
    *_, down, right, _ = waves(pixels.shape[1])
    order = np.argsort(one, kind="stable")
    starts = np.searchsorted(one[order], np.arange(0, len(firsts) + AT_ONCE, AT_ONCE))
    for place, some in enumerate(portions(firsts * 2)):
        middles, rest = of_middles(pixels_of(pixels, some))
        own = order[starts[place] : starts[place + 1]]
        for start in range(0, len(own), PAIRS_AT_ONCE):
            part = own[start : start + PAIRS_AT_ONCE]
            i, j = one[part] - place * AT_ONCE, other[part]
            reached = (down @ (middles[i] * spectra[j] @ right)).real
            reached += (rest[i] * beyond[j])[:, None, None]
            most[part] = (reached / lengths[j]).max(axis=(1, 2))
    return most


def portions(places: np.ndarray) -> Iterator[np.ndarray]:
    return (places[start : start + AT_ONCE] for start in range(0, len(places), AT_ONCE))


def pixels_of(pixels: np.ndarray, twice: np.ndarray) -> np.ndarray:
    """Float32[n, S, S] of Int64[n], twice their places; an odd one is the mirror image."""
    seen = pixels[twice // 2].astype(np.float32)
    mirror = twice % 2 == 1
    seen[mirror] = seen[mirror][:, :, ::-1]
    return seen


def of_middles(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of Float32[N, S, S]: Complex64[N, 2F-1, F], the low frequencies of their middles of length 1,
    and Float32[N], the length of what is left."""
    side = pixels.shape[1]
    inner = side - 2 * MOVED_PX
    middles = centred(pixels[:, MOVED_PX:-MOVED_PX, MOVED_PX:-MOVED_PX])
    spectra = low_frequencies(middles.reshape(-1, inner, inner), side)
    return spectra.conj(), lengths_beyond(spectra, np.ones(len(pixels), np.float32), side)


def of_whole(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of whole pictures, and Float32[N, T, T]: the length of each place's window."""
    side = pixels.shape[1]
    spectra = low_frequencies(pixels, side)
    squares = pixels * pixels
    boxes = waves(side)[-1]
    inner = (side - 2 * MOVED_PX) ** 2
    about = boxes.T @ squares @ boxes - (boxes.T @ pixels @ boxes) ** 2 / inner
    beyond = lengths_beyond(spectra, squares.sum(axis=(1, 2)), side)
    return spectra, beyond, np.sqrt(np.maximum(about, LEAST))


def low_frequencies(pixels: np.ndarray, side: int) -> np.ndarray:
    """Complex64[N, 2F-1, F] of Float32[N, h, w], as if zeros followed up to S×S."""
    rows, columns, *_ = waves(side)
    tall, wide = pixels.shape[1:]
    both = pixels @ columns[:wide]
    return rows[:, :tall] @ (both[..., :FREQUENCIES] + 1j * both[..., FREQUENCIES:])


def lengths_beyond(spectra: np.ndarray, squares: np.ndarray, side: int) -> np.ndarray:
    """Float32[N]: root of what Float32[N], sums of squares, have above the low frequencies."""
    power = np.square(spectra.real) + np.square(spectra.imag)
    # those of negative columns are the same
    low = 2 * power.sum(axis=(1, 2)) - power[:, :, 0].sum(axis=1)
    return np.sqrt(np.maximum(squares - low / side**2, 0))


@cache
def waves(side: int) -> tuple[np.ndarray, ...]:
    """What turns S×S pixels into low frequencies and those into places.

    Returns:
        Complex64[2F-1, S] and Float32[S, 2F] (real and imaginary parts beside each other) forward;
        Complex64[T, 2F-1] and Complex64[F, T] back at T places each way, all in whole and half
        pixels; Float32[S, T], which sums up the pixels of the window at each place.
    """
    up = np.arange(FREQUENCIES)
    both = np.append(up, up[:0:-1] * -1)
    pixels = np.arange(side)
    steps = np.arange(0, 2 * MOVED_PX + STEP_PX, STEP_PX)
    turn = 2j * np.pi / side
    forward = np.exp(-turn * np.outer(pixels, up))
    # frequencies of negative columns are not kept: they are those of positive ones once more
    back = np.exp(turn * np.outer(up, steps)) * np.where(up, 2, 1)[:, None] / side**2
    away = pixels[:, None] - steps
    boxes = np.clip(np.minimum(away + 1, side - 2 * MOVED_PX - away), 0, 1)
    return (
        np.exp(-turn * np.outer(both, pixels)).astype(np.complex64),
        np.hstack([forward.real, forward.imag]).astype(np.float32),
        np.exp(turn * np.outer(steps, both)).astype(np.complex64),
        back.astype(np.complex64),
        boxes.astype(np.float32),
    )
