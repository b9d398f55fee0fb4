"""Records of an event file by TensorBoard's own writer: writes test/figures/events.json.
Needs tensorboard (made with 2.21.0). Run by hand: python3 events.py

With a folder as argument it instead prints what TensorBoard reads there: python3 events.py runs/a"""
import base64
import io
import json
import pathlib
import sys

import tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.record_writer import RecordWriter


def read(folder):
    for run in sorted(path for path in pathlib.Path(folder).glob("**/") if list(path.glob("*tfevents*"))):
        events = EventAccumulator(str(run)).Reload()
        tags = events.Tags()
        print(run.relative_to(folder))
        for tag in tags["scalars"]:
            print(" ", tag, [(e.step, e.value) for e in events.Scalars(tag)])
        for tag in tags["tensors"]:
            print(" ", tag, [(e.step, [v.decode() for v in e.tensor_proto.string_val]) for e in events.Tensors(tag)])


def record(event):
    file = io.BytesIO()
    RecordWriter(file).write(event.SerializeToString())
    return base64.b64encode(file.getvalue()).decode()


def write():
    time = 1700000000.25
    values = {"epoch_loss": 0.125, "epoch_accuracy": 0.1, "zero": 0.0, "bad": float("nan"), "ünï": -3e30}
    scalars = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values.items()])
    markdown = "|parameter|value|\n|---|---|\n|lr|0.1|\n" + "x" * 300
    text = Summary.Value(
        tag="params",
        metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text")),
        tensor=TensorProto(dtype=DT_STRING, tensor_shape=TensorShapeProto(), string_val=[markdown.encode()]),
    )
    figures = {
        "tensorboard": tensorboard.__version__,
        "time": time,
        "values": [[k, str(v) if v != v else v] for k, v in values.items()],
        "markdown": markdown,
        "version": record(Event(wall_time=time, file_version="brain.Event:2")),
        "scalars": [
            {"step": step, "record": record(Event(wall_time=time, step=step, summary=scalars))}
            for step in (0, 1, 300, 2**40)
        ],
        "text": record(Event(wall_time=time, step=7, summary=Summary(value=[text]))),
    }
    root = pathlib.Path(__file__).resolve().parents[2]
    (root / "test/figures/events.json").write_text(json.dumps(figures) + "\n")


if len(sys.argv) > 1:
    read(sys.argv[1])
else:
    write()
