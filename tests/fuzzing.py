"""Damaged models put through the importer, within limits of memory and time.

:py:`limit()` leaves a process no more than 256 MiB of address space beyond what it has after the imports;
what wants more meets a MemoryError, which is a failure like any other exception. Address space is stricter
than resident memory: what is reserved and never touched counts too. An audit hook sees every file that is
opened.
"""
import random
import resource
import signal
import sys
import tempfile
import warnings
from math import prod
from pathlib import Path

import numpy as np
from onnx import TensorProto, numpy_helper

from headrace.gen.importer.load import load
from headrace.gen.ir.errors import HeadraceError
from headrace.gen.numerics import constants
from headrace.gen.planning.planner import plan
from onnx_models import Q, QdqModel
from onnx_mutations import mutate
from small_models import every_operator, rearranged

MEMORY = 256 << 20  # bytes
SECONDS = 5.0  # of processor time for one file
VALUES = 20_000  # of a frame, in all tensors: networks as small as that are planned too


def sound(folder: Path) -> list[bytes]:
    """Return small models to start from; what one of them reads is in the folder."""
    models = with_external_data(folder), exported(), computed(), operator_oriented(), functions()
    return [every_operator(folder / "small.onnx").read_bytes(),
            rearranged(folder / "rearranged.onnx").read_bytes(),
            *(model.proto().SerializeToString() for model in models)]


def with_external_data(folder: Path) -> QdqModel:
    """int8, per channel, an integer input."""
    rng = np.random.default_rng(0)
    model = QdqModel()
    q = Q(0.1, -3, np.int8)
    x = model.input((2, 5, 4), q, real=False)
    x = model.conv(x, rng.integers(-99, 99, (4, 2, 3, 3)).astype(np.int8), q, name="c", bias=np.arange(4),
                   scale=np.full(4, 0.02, np.float32), auto_pad="SAME_UPPER", clip=(0.0, 6.0))
    model.operator("AveragePool", [x], q, name="y", kernel_shape=[5, 4])
    model.output("y_q", (4, 1, 1), np.int8)
    (weight,) = (tensor for tensor in model.initialisers if tensor.name == "c_w_q")
    (folder / "weights.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    return model


def exported() -> QdqModel:
    """What exporters leave around the operators: N x H x W x C, Pad, BatchNormalization, MatMul, Softmax."""
    rng = np.random.default_rng(1)
    q, wide = Q(0.05, 128), Q(0.1, 128)
    model = QdqModel(opset=13)
    x = model.node("Transpose", [model.input((5, 6, 3), q)], "nchw", perm=[0, 3, 1, 2])
    x = model.node("Pad", [x, model.constant("amounts", np.array([0, 0, 1, 1, 0, 0, 0, 1]))], "padded")
    model.quantisations[x] = q
    model.conv(x, rng.integers(-99, 99, (4, 3, 3, 3)).astype(np.int8), wide, name="c", bias=np.arange(4))
    del model.nodes[-2:]
    parameters = [model.constant(f"bn{index}", rng.uniform(0.5, 2, 4).astype(np.float32))
                  for index in range(4)]
    x = model.quantise(model.node("BatchNormalization", ["c_raw", *parameters], "normal"), wide, name="c")
    x = model.operator("ReduceMean", [x], wide, name="mean", axes=[2, 3], keepdims=0)
    product = model.node("MatMul", [x, model.weight("w", np.ones((4, 3), np.int8), 0.02, 0, 0)], "product")
    offset = model.weight("b", np.arange(3, dtype=np.int32), np.float32(0.1) * np.float32(0.02), 0, 0)
    y = model.operator("Add", [product, offset], wide, name="classes")
    model.output(model.node("Softmax", [y], "probabilities"), (3,))
    return model


def computed() -> QdqModel:
    """Computed constants, an open batch, real biases, int8 and uint8, a scale for each channel."""
    rng = np.random.default_rng(2)
    q, wide = Q(0.05, 128), Q(0.1, -3, np.int8)
    model = QdqModel(weights="QuantizeLinear", integer_clips=True, dedicated=True)
    a = model.conv(model.input((3, 5, 4), q), rng.integers(-99, 99, (2, 3, 1, 1)).astype(np.int8), wide,
                   name="a", bias=rng.uniform(-1, 1, 2).astype(np.float32), clip="Relu")
    model.inputs[0].type.tensor_type.shape.dim[0].dim_param = "N"
    model.operator("Add", [a, a], wide, name="s")
    model.node("Conv", ["s_dq", model.weight("b_w", np.ones((2, 2, 1, 1), np.int8), 0.02, 0, 0)], "b_raw")
    model.node("QuantizeLinear", ["b_raw", model.constant("scales", np.array([0.2, 0.4], np.float32)),
                                  model.constant("zeros", np.zeros(2, np.uint8))], "b_q", axis=1)
    model.node("DequantizeLinear", ["b_q", "scales", "zeros"], "b_dq", axis=1)
    model.quantisations["b_dq"] = q
    model.weights = "Clip"
    c = model.conv("b_dq", rng.integers(-99, 99, (2, 1, 3, 3)).astype(np.int8), wide, name="c", group=2)
    shape = model.node("Cast", [model.node("Shape", [c], "shape")], "shape_32", to=TensorProto.INT32)
    batch = model.node("Gather", [shape, model.constant("at", np.array(0))], "batch")
    batches = model.node("Unsqueeze", [batch, model.constant("axes", np.array([0]))], "batches")
    rest = model.node("Mul", [model.constant("two", np.array([2], np.int32)), model.node(
        "ConstantOfShape", [model.constant("length", np.array([1]))], "six",
        value=numpy_helper.from_array(np.array([6], np.int32)))], "rest")
    target = model.node("Concat", [batches, rest], "target_32", axis=0)
    flat = model.node("Reshape", [c, model.node("Cast", [target], "target", to=TensorProto.INT64)], "flat")
    model.quantisations[flat] = wide
    model.conv(flat, np.ones((3, 12), np.int8), q, name="y", operator="Gemm", transB=1)
    model.output("y_q", (3,), np.uint8)
    return model


def functions() -> QdqModel:
    """Functions of one tensor, which ONNX Runtime computes, and constants in their forms."""
    model = QdqModel()
    q = Q(0.05, 100)
    x = model.input((2, 4, 3), q)
    s = model.node("Mul", [x, model.node("Sigmoid", [x], "sigmoid")], "silu")
    x = model.quantise(model.node("LeakyRelu", [s], "leaky", alpha=0.1), q, name="s")
    x = model.node("PRelu", [x, model.constant("slope", np.full((2, 1, 1), 0.2, np.float32))], "prelu")
    x = model.node("Add", [x, model.weight("c", np.array([[[7]]], np.uint8), 0.05, 3, 0)], "sum")
    x = model.quantise(model.node("Elu", [x], "elu"), Q(0.04, 60), name="e")
    exp = model.node("Exp", [x], "exp")
    x = model.node("Div", [model.constant("one", np.array([1], np.float32)), exp], "d")
    model.output(model.quantise(model.node("Pow", [x, "slope"], "p"), Q(0.01, 0), name="y"), (2, 4, 3))
    return model


def operator_oriented() -> QdqModel:
    """QLinear operators."""
    model = QdqModel()
    scale, zero = model.parameters("q", 0.1, 9, np.uint8)
    q, weight = [scale, zero], model.constant("w", np.arange(-9, 9, dtype=np.int8).reshape(2, 1, 3, 3))
    kernel, bias = model.parameters("w", 0.02, 0, np.int8), model.constant("b", np.arange(2, dtype=np.int32))
    model.input((2, 4, 5), Q(0.1, 9))
    c = model.node("QLinearConv", ["x_q", *q, weight, *kernel, *q, bias], "c", group=2, pads=[1, 1, 1, 1])
    model.node("QLinearAdd", ["x_q", *q, c, *q, *q], "s", domain="com.microsoft")
    model.node("QLinearGlobalAveragePool", ["s", *q, *q], "g", domain="com.microsoft", channels_last=0)
    model.output(model.node("DequantizeLinear", ["g", *q], "y"), (2, 1, 1))
    return model


def run(seed: int, count: int) -> tuple[int, list[str]]:
    """Import, plan and prove so many damaged files; return how many loaded, and all that went wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "model"
        folder.mkdir()
        (folder.parent / "secret").write_bytes(bytes(4096))
        (folder / "link").symlink_to("/etc")
        path, rng, starts = folder / "net.onnx", random.Random(seed), sound(folder)
        for content in starts:  # what is imported late is imported here
            path.write_bytes(content)
            check(path)
        opened: list[str] = []
        def hear(event: str, args: tuple[object, ...]) -> None:
            if event == "open" and not isinstance(args[0], int):  # a number was opened by name before
                opened.append(str(args[0]))

        sys.addaudithook(hear)
        warnings.simplefilter("error")
        limit()
        loaded, wrong = 0, []
        for number in range(count):
            path.write_bytes(mutate(rng, starts))
            opened.clear()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                check(path)
                loaded += 1
            except HeadraceError as error:
                if not str(error).isprintable() or len(str(error)) > 2000:
                    wrong.append(f"{number}: {error!r}")
            except Exception as error:
                wrong.append(f"{number}: {error!r}")
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            wrong += [f"{number}: opened {other}" for other in opened
                      if not Path(other).resolve().is_relative_to(folder)]
        return loaded, wrong


def check(path: Path) -> None:
    graph = load(path)
    constants.find(graph)
    if sum(prod(tensor.shape) for tensor in graph.tensors.values()) <= VALUES:
        plan(graph)


def limit() -> None:
    """Limit memory, and turn the timer's signal into an exception."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} seconds")
    signal.signal(signal.SIGPROF, late)
