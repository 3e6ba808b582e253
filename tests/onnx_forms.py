"""What tests of exporters' forms share: models, graphs compared, ONNX Runtime on the file as it is."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import helper

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph
from headrace.sim import oracle, reference
from onnx_models import Q, QdqModel

X, Y = Q(0.03, 120), Q(0.4, 100)
IMAGE = (4, 9, 7)


def random(rng: np.random.Generator, dtype: type, *shape: int) -> np.ndarray:
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


_RNG = np.random.default_rng(0)
WEIGHT = random(_RNG, np.int8, 6, 4, 3, 3)
BIAS = _RNG.integers(-900, 900, 6)


def finish(model: QdqModel, path: Path, output: str) -> Graph:
    if not model.outputs:
        model.outputs.append(helper.ValueInfoProto(name=output))
    return load(model.save(path))


def images(graph: Graph, count: int = 8, seed: int = 0) -> np.ndarray:
    source = graph.tensors[graph.input]
    q = source.quantisation
    return np.random.default_rng(seed).integers(q.lo, q.hi + 1, (count, *source.shape))


def assert_exact(path: Path, *, cut: str | None = None, count: int = 8) -> Graph:
    """Import, and insist that the reference equals ONNX Runtime on every tensor."""
    graph = load(path, cut)
    assert oracle.compare(graph, path, images(graph, count), cut=cut) == dict.fromkeys(graph.tensors, 0)
    return graph


def assert_alike(ours: Graph, theirs: Graph) -> None:
    """Equal up to names."""
    assert len(ours.nodes) == len(theirs.nodes) and ours.input == theirs.input
    for a, b in zip(ours.nodes, theirs.nodes, strict=True):
        assert type(a) is type(b)
        assert ours.tensors[a.output].shape == theirs.tensors[b.output].shape
        assert ours.tensors[a.output].quantisation == theirs.tensors[b.output].quantisation
        mine, other = ({name: value for name, value in vars(node).items()
                        if name not in ("name", "inputs", "output")} for node in (a, b))
        assert mine.keys() == other.keys()
        for name, value in mine.items():
            np.testing.assert_equal(value, other[name], err_msg=name)


def original_output(path: Path, graph: Graph, *, nhwc: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The output of the reference, and what ONNX Runtime makes of the file as it is, dequantised both."""
    x = images(graph)
    q = graph.tensors[graph.input].quantisation
    session = ort.InferenceSession(path, _exact_options(), providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    feeds = x.transpose(0, 2, 3, 1) if nhwc else x
    if source.type == "tensor(float)":
        feeds = (feeds - q.zero_point).astype(np.float32) * np.float32(q.scale)
    else:
        feeds = feeds.astype(np.int8 if q.signed else np.uint8)
    runs = [session.run(None, {source.name: feed.reshape(source.shape)}) for feed in feeds]
    theirs = np.concatenate([result for (result,) in runs])
    ours = reference.run(graph, x)[graph.output]
    to = graph.tensors[graph.output].quantisation
    if theirs.dtype == np.float32:
        theirs = np.rint(theirs / np.float32(to.scale)).astype(int) + to.zero_point
    if theirs.ndim == 4 and nhwc:
        theirs = theirs.transpose(0, 3, 1, 2)
    return ours.reshape(len(x), -1), theirs.reshape(len(x), -1).astype(int)


def _exact_options() -> ort.SessionOptions:
    """Without optimisation ONNX Runtime dequantises, computes in float32 and quantises: right up to ties."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return options


def conv(model: QdqModel, x: str, **options: object) -> str:
    """The convolution that every form is tried on."""
    y = Q(Y.scale, Y.zero_point, model.quantisations[x].dtype)
    return model.conv(x, WEIGHT, y, name="y", bias=BIAS, **options)


def plain(folder: Path, *, shape: Sequence[int] = IMAGE, q: Q = X, **options: object) -> Graph:
    """It alone, in the importer's form."""
    model = QdqModel()
    conv(model, model.input(shape, q), **options)
    return finish(model, folder / "plain.onnx", "y_dq")


def exact(model: QdqModel, folder: Path, output: str = "y_dq") -> Graph:
    """Save, and import as `assert_exact` does."""
    if not model.outputs:
        model.outputs.append(helper.ValueInfoProto(name=output))
    return assert_exact(model.save(folder / "form.onnx"))
