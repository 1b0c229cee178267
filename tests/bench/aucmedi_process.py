"""AUCMEDI's small network trained on a folder of class folders, in an environment of its own.

Called as `aucmedi_process.py FOLDER SIDE BATCH EPOCHS`, by an interpreter that has AUCMEDI and
nothing of medimg. Prints JSON: seconds of each epoch by the clock and of the processor, parameters,
images.

Pictures are decoded and resized before the first epoch (`prepare_images`), which AUCMEDI recommends
for speed, and kept beside; augmentation is its own default.
"""

from __future__ import annotations

import json
import sys
import time

from aucmedi import DataGenerator, ImageAugmentation, NeuralNetwork, input_interface
from tensorflow.keras.callbacks import Callback


class Clock(Callback):
    def __init__(self):
        super().__init__()
        self.seconds, self.cpu = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.began, self.began_cpu = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.began)
        self.cpu.append(time.process_time() - self.began_cpu)


def main() -> None:
    folder, side, batch, epochs = sys.argv[1], *map(int, sys.argv[2:5])
    samples, classes, count, _, suffix = input_interface("directory", folder, training=True)
    # "2D.Vanilla", its default, is the only small one
    network = NeuralNetwork(
        count, 3, input_shape=(side, side), architecture="2D.Vanilla", verbose=0
    )
    pictures = DataGenerator(
        samples,
        folder,
        labels=classes,
        image_format=suffix,
        batch_size=batch,
        resize=network.meta_input,
        standardize_mode=network.meta_standardize,
        data_aug=ImageAugmentation(),
        shuffle=True,
        prepare_images=True,
        seed=0,
    )
    clock = Clock()
    network.train(pictures, epochs=epochs, callbacks=[clock])
    told = {
        "seconds": clock.seconds,
        "cpu": clock.cpu,
        "parameters": network.model.count_params(),
        "images": len(samples),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
