"""What Keras's callbacks do with given results of epochs: writes test/figures/callbacks.json.
Needs Keras 3 (made with 3.15.1). Run by hand: KERAS_BACKEND=numpy python3 callbacks.py"""
import json
import os
import tempfile
import warnings

os.environ.setdefault("KERAS_BACKEND", "numpy")
warnings.filterwarnings("ignore")
import keras  # noqa: E402

NAN = float("nan")


class Optimizer:
    learning_rate = 1.0


class Model:
    """What the callbacks touch of a model. Its weight is the number of the epoch in which it was trained."""

    metrics = []
    stop_training = False

    def __init__(self):
        self.optimizer = Optimizer()
        self.weight = -1
        self.saved = []

    def get_weights(self):
        return self.weight

    def set_weights(self, weight):
        self.weight = weight

    def save(self, path, overwrite=True):
        self.saved.append(os.path.basename(path))


def run(callback, values, name, runs=1):
    model = Model()
    callback.set_model(model)
    for _ in range(runs):
        model.stop_training = False
        model.saved.clear()
        rates = []
        callback.on_train_begin()
        for epoch, value in enumerate(values):
            callback.on_epoch_begin(epoch)
            model.weight = epoch
            rates.append(float(model.optimizer.learning_rate))
            logs = {"loss": 1 / (1 + epoch)}
            if value is not None:
                logs[name] = value
            callback.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        callback.on_train_end()
    return model, len(rates), rates


falling = [1.0, 0.8, 0.7, 0.72, 0.71, 0.69, 0.695, 0.7, 0.71, 0.68]
plateau = [1.0, 0.9, 0.9, 0.95, 0.9, 0.89999, 0.7, 0.71, 0.72, 0.73, 0.7, 0.69999, 0.7, 0.7, 0.7, 0.7, 0.7]
rising = [0.5, 0.6, 0.55, 0.61, 0.61, 0.6, 0.59, 0.7]
gaps = [1.0, None, 0.9, None, 0.95, None, 0.96, None, 0.97]

early = []
for values, name, options in [
    (falling, "val_loss", {}),
    (falling, "val_loss", {"patience": 2}),
    (falling, "val_loss", {"patience": 3}),
    (falling, "val_loss", {"patience": 3, "min_delta": 0.05}),
    (falling, "val_loss", {"patience": 20}),
    (falling, "val_loss", {"patience": 2, "baseline": 0.5}),
    (falling, "val_loss", {"patience": 4, "baseline": 0.705}),
    (falling, "val_loss", {"patience": 2, "start_from_epoch": 4}),
    (falling, "val_loss", {"patience": 1, "mode": "max"}),
    (falling, "val_loss", {"patience": 2, "restore_best_weights": False}),
    (rising, "val_accuracy", {"patience": 2, "mode": "max"}),
    (rising, "val_accuracy", {"patience": 3, "mode": "max", "min_delta": 0.02}),
    (gaps, "val_loss", {"patience": 2}),
    ([1.0, NAN, NAN, 0.5], "val_loss", {"patience": 3}),
    ([1.0, 1.0], "val_loss", {"patience": 0}),
]:
    settings = {"mode": "min", "restore_best_weights": True, **options}
    callback = keras.callbacks.EarlyStopping(monitor=name, **settings)
    model, epochs, _ = run(callback, values, name)
    # A second training with the same callback must give the same.
    again, epochs2, _ = run(callback, values, name)
    assert (model.weight, epochs) == (again.weight, epochs2)
    early.append(
        {
            "name": name,
            "options": settings,
            "values": values,
            "epochs": epochs,
            "stopped": callback.stopped_epoch,
            "best": float(callback.best),
            "bestEpoch": callback.best_epoch,
            "weight": model.weight,
        }
    )

reduce = []
for values, options in [
    (plateau, {"patience": 2}),
    (plateau, {"patience": 1, "factor": 0.5}),
    (plateau, {"patience": 2, "cooldown": 3, "factor": 0.5}),
    (plateau, {"patience": 1, "factor": 0.1, "min_lr": 0.005}),
    (plateau, {"patience": 3, "min_delta": 0.0}),
    (plateau, {"patience": 2, "mode": "max"}),
    (gaps, {"patience": 1}),
]:
    settings = {"mode": "min", **options}
    _, _, rates = run(keras.callbacks.ReduceLROnPlateau(monitor="val_loss", **settings), values, "val_loss")
    reduce.append({"options": settings, "values": values, "rates": rates})

saved = []
with tempfile.TemporaryDirectory() as folder:
    for name, options in [
        ("all-{epoch:02d}.keras", {}),
        ("{epoch:02d}-{val_loss:.2f}.keras", {"save_best_only": True}),
        ("{epoch}-{val_loss:.3e}-{loss:8.4f}.keras", {"save_best_only": True}),
        ("{epoch:4d}.keras", {"save_best_only": True, "initial_value_threshold": 0.695}),
        ("{val_loss:.1f}.keras", {"save_best_only": True, "mode": "max"}),
    ]:
        settings = {"mode": "min", **options}
        callback = keras.callbacks.ModelCheckpoint(os.path.join(folder, name), monitor="val_loss", **settings)
        model, _, _ = run(callback, falling, "val_loss")
        saved.append({"pattern": name, "options": settings, "values": falling, "files": model.saved})

figures = {"keras": keras.__version__, "early": early, "reduce": reduce, "saved": saved}
path = os.path.join(os.path.dirname(__file__), "../../test/figures/callbacks.json")
with open(path, "w") as f:
    # NaN is a text, which JSON has no number for.
    f.write(json.dumps(figures, indent=1).replace(": NaN", ': "NaN"').replace(" NaN", ' "NaN"') + "\n")
