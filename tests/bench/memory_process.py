"""Trains on 100,000 pictures of 224 px that lie in a mapped file; prints anonymous memory as JSON.

Called as `memory_process.py BACKEND STEPS`. The file has holes, so that it takes no disk; every
picture of an epoch's first STEPS batches is read, augmented and trained on, then features of a
frozen backbone of all 100,000 are streamed into a mapped file and a head is trained on them.
Memory is the process's own (RssAnon, proc(5)): what files fill is not in it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np

IMAGES, SIDE, BATCH, FEATURES = 100_000, 224, 32, 2048


def anonymous() -> int:
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in rows if row.startswith("RssAnon"))


def main() -> None:
    backend, steps = sys.argv[1], int(sys.argv[2])
    from medimg.core.augment import Augmentation
    from medimg.core.cache import room_for
    from medimg.core.loader import Loader
    from medimg.core.types import Objective, Optimizer
    from medimg.manager import plugins

    engine = plugins().backend(backend)[1]
    small = plugins().registry().model("cnn3").spec(2, SIDE, backend=backend)
    network, _ = engine.build(small, 0)
    network.prepare(Objective(), Optimizer(), 0)
    framework, peak = anonymous(), 0
    labels = np.arange(IMAGES) % 2
    preset = Augmentation(rotation_deg=10, shift=0.1, brightness=0.1)

    def seen(*_) -> bool:
        nonlocal peak
        peak = max(peak, anonymous())
        return True

    with tempfile.TemporaryDirectory() as folder:
        shape = (IMAGES, SIDE, SIDE, 3)
        np.lib.format.open_memmap(f"{folder}/pixels.npy", "w+", np.uint8, shape)
        pixels = np.load(f"{folder}/pixels.npy", mmap_mode="r")
        loader = Loader(pixels, np.arange(IMAGES), labels, 2, BATCH, augmentation=preset)
        rates = np.full((steps, 1), 1e-4, np.float32)
        network.train_epoch(islice(loader.epoch(0), steps), rates, seed=0, on_step=seen)
        trained = peak

        file = Path(folder) / "features.npy"
        with room_for(file, (IMAGES, FEATURES), np.float32, "features") as (array, keep):
            draw = np.random.default_rng(0)
            for start in range(0, IMAGES, 500):
                array[start : start + 500] = draw.normal(size=(500, FEATURES))
                seen()
            kept = keep()
        linear = plugins().backend("linear")[1]
        flat = plugins().registry().model("logistic").spec(2, 8, channels=1, backend="linear")
        top = linear.build(flat, 0)[0].head()
        top.trained["output/kernel"] = np.zeros((FEATURES, flat.outputs), np.float32)
        top.prepare(Objective(), Optimizer(), 0)
        features = Loader(kept, np.arange(IMAGES), labels, 2, BATCH)
        rates = np.full((features.steps, 1), 1e-4, np.float32)
        top.train_epoch(features.epoch(0), rates, seed=0, on_step=seen)
    print(json.dumps({"framework": framework, "pictures": trained, "features": peak}))


if __name__ == "__main__":
    main()
