"""Damaged ONNX files, made from sound ones: bytes changed blindly, and messages changed knowingly."""
import random
from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

SIZES = (-(1 << 63), -2, -1, 0, 1, 2, 3, 7, 64, 4096, 65_537, 1 << 26, (1 << 31) - 1, 1 << 32, (1 << 63) - 1)
REALS = (0.0, -0.0, -1.0, 1e-45, 1e-38, 1e-20, 1e-6, 0.003, 0.5, 1.0, 255.0, 1e20, 3.4e38, float("inf"),
         float("-inf"), float("nan"))
OPERATORS = ("Add", "AveragePool", "Clip", "Concat", "Constant", "Conv", "DequantizeLinear", "Flatten",
             "Gather", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "If", "Loop", "MatMul", "MaxPool", "Mul",
             "Pad", "Pow", "PRelu", "QLinearConv", "QLinearMul", "Quant", "QuantizeLinear", "ReduceMean",
             "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Softplus", "SpaceToDepth", "Split",
             "Sub", "Transpose", "", "X" * 999)
ATTRIBUTES = ("alpha", "auto_pad", "axis", "blocksize", "ceil_mode", "count_include_pad", "dilations",
              "group", "kernel_shape", "keepdims", "mode", "output_dtype", "pads", "perm", "strides",
              "transA", "transB")
TYPES = (np.int8, np.uint8, np.int32, np.int64, np.float32, np.float16)
DOMAINS = ("ai.onnx", "com.microsoft", "qonnx.custom_op.general", "x")
LOCATIONS = ("", ".", "..", "/etc/passwd", "../secret", "gone", "link/passwd", "a\0b", "x" * 5000, "net.onnx",
             "/dev/zero", "/proc/self/mem", "~/secret", "file:///etc/passwd", "..\\secret")

Mutation = Callable[[random.Random, onnx.ModelProto], None]


def mutate(rng: random.Random, sound: Sequence[bytes]) -> bytes:
    """Return a damaged copy of one of the files, with one to four injuries."""
    content = rng.choice(sound)
    if rng.random() < 0.75:
        model = onnx.ModelProto.FromString(content)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            rng.choice(MUTATIONS)(rng, model)
        content = model.SerializeToString()
        if rng.random() < 0.9:
            return content
    for _ in range(rng.choice((1, 1, 3))):
        content = _bytes(rng, content, rng.choice(sound))
    return content


def _bytes(rng: random.Random, content: bytes, other: bytes) -> bytes:
    start, end = sorted((rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)))
    changed = bytearray(content)
    match rng.randrange(6):
        case 0 if content:
            changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        case 1 if content:
            changed[rng.randrange(len(content))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        case 2:
            del changed[start:start + rng.randrange(1, 9)]
        case 3:
            changed[start:start] = rng.randbytes(rng.randrange(1, 9))
        case 4:
            del changed[end:]
        case _:
            place = rng.randrange(len(other))
            changed[start:end] = other[place:place + rng.randrange(200)]
    return bytes(changed)


def _tensor_dims(rng: random.Random, model: onnx.ModelProto) -> None:
    if tensor := _one(rng, model.graph.initializer):
        dims = list(tensor.dims)
        match rng.randrange(4):
            case 0:
                dims.append(rng.choice(SIZES))
            case 1:
                dims = dims[1:]
            case 2:
                rng.shuffle(dims)
            case _ if dims:
                dims[rng.randrange(len(dims))] = rng.choice(SIZES)
        tensor.ClearField("dims")
        tensor.dims.extend(dims)


def _value_dims(rng: random.Random, model: onnx.ModelProto) -> None:
    graph = model.graph
    value = rng.choice((*graph.input, *graph.output, *graph.value_info))
    dims = value.type.tensor_type.shape.dim
    if rng.random() < 0.2 or not dims:
        dims.add(dim_value=rng.choice(SIZES))
    elif rng.random() < 0.1:
        rng.choice(dims).dim_param = "N"
    else:
        rng.choice(dims).dim_value = rng.choice(SIZES)


def _large_image(rng: random.Random, model: onnx.ModelProto) -> None:
    """Make the input large, as if it were meant, and claim nothing about what follows from it."""
    graph = model.graph
    for value in graph.input:
        for dim in list(value.type.tensor_type.shape.dim)[2:]:
            dim.dim_value = rng.choice((1, 17, 300, 4000, 60_000, 1 << 20, 1 << 30))
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


def _element_type(rng: random.Random, model: onnx.ModelProto) -> None:
    graph = model.graph
    if rng.random() < 0.8 and (tensor := _one(rng, graph.initializer)):
        tensor.data_type = rng.randrange(-1, 26)
    elif value := _one(rng, graph.input):
        value.type.tensor_type.elem_type = rng.randrange(0, 26)


def _constant(rng: random.Random, model: onnx.ModelProto) -> None:
    """Change the numbers of a constant, and now and then its type and shape."""
    if not (tensor := _one(rng, model.graph.initializer)):
        return
    if tensor.data_location == TensorProto.EXTERNAL:
        return
    try:
        values = numpy_helper.to_array(tensor).copy()
    except (TypeError, ValueError, KeyError):
        return  # an earlier injury
    if values.size:
        index = rng.randrange(values.size)
        if values.dtype.kind == "f":
            values.flat[index] = rng.choice(REALS)
        elif values.dtype.kind in "iu":
            info = np.iinfo(values.dtype)
            values.flat[index] = rng.choice((info.min, info.max, 0, rng.randint(0, 100)))
    if rng.random() < 0.3:
        with np.errstate(all="ignore"):
            values = values.astype(rng.choice(TYPES))
    if rng.random() < 0.2:
        values = np.repeat(values.ravel()[:1], rng.choice((0, 1, 2, 4, 6)))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _external(rng: random.Random, model: onnx.ModelProto) -> None:
    if tensor := _one(rng, model.graph.initializer):
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=rng.choice(LOCATIONS))
        for key in ("offset", "length"):
            if rng.random() < 0.5:
                tensor.external_data.add(key=key, value=str(rng.choice((*SIZES, "many", ""))))


def _attribute(rng: random.Random, model: onnx.ModelProto) -> None:
    if not (node := _one(rng, model.graph.node)):
        return
    if not node.attribute or rng.random() < 0.25:
        value = rng.choice((rng.choice(SIZES), rng.choice(REALS), "SAME_UPPER", [rng.choice(SIZES)] * 2,
                            [1] * 4))
        node.attribute.append(helper.make_attribute(rng.choice(ATTRIBUTES), value))
        return
    attribute = rng.choice(node.attribute)
    match rng.randrange(4):
        case 0:
            node.attribute.remove(attribute)
        case 1:
            attribute.type = rng.choice(AttributeProto.AttributeType.values())
        case 2 if attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(SIZES)
        case 3 if attribute.ints:
            attribute.ints.append(rng.choice(SIZES))
        case _:
            attribute.i, attribute.f = rng.choice(SIZES), rng.choice(REALS)


def _wires(rng: random.Random, model: onnx.ModelProto) -> None:
    """Connect a node otherwise: swapped, missing, foreign or later inputs; a cycle; an output made twice."""
    nodes = model.graph.node
    if not (node := _one(rng, nodes)):
        return
    names = [*(name for other in nodes for name in (*other.input, *other.output)), "", "nowhere", "\n" * 9]
    ends = node.input if rng.random() < 0.8 else node.output
    match rng.randrange(4):
        case 0:
            ends.append(rng.choice(names))
        case 1 if ends:
            ends.pop(rng.randrange(len(ends)))
        case 2 if len(ends) > 1:
            ends[0], ends[1] = ends[1], ends[0]
        case _ if ends:
            ends[rng.randrange(len(ends))] = rng.choice(names)


def _nodes(rng: random.Random, model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)
    if not nodes:
        return
    match rng.randrange(5):
        case 0:
            nodes.insert(rng.randrange(len(nodes)), nodes[rng.randrange(len(nodes))])
        case 1:
            nodes.pop(rng.randrange(len(nodes)))
        case 2:
            rng.shuffle(nodes)
        case 3:
            rng.choice(nodes).op_type = rng.choice(OPERATORS)
        case _:
            rng.choice(nodes).domain = rng.choice(DOMAINS)
    copies = onnx.GraphProto(node=nodes)
    model.graph.ClearField("node")
    model.graph.node.extend(copies.node)


def _ends(rng: random.Random, model: onnx.ModelProto) -> None:
    """Change what the graph's inputs and outputs are."""
    graph = model.graph
    values = rng.choice((graph.input, graph.output))
    match rng.randrange(3):
        case 0 if values:
            values.pop()
        case 1 if values:
            values.append(values[0])
        case _:
            name = rng.choice([name for node in graph.node for name in node.output] or ["none"])
            values.append(helper.make_tensor_value_info(name, 1, [rng.choice(SIZES) for _ in range(4)]))


def _names(rng: random.Random, model: onnx.ModelProto) -> None:
    """Give one thing the name of another, or a hostile one."""
    graph = model.graph
    named = [*graph.initializer, *graph.node, *graph.input, *graph.output]
    hostile = ("", "../../x", "a\nb", "\x1b[31m", "module", "x" * 70_000, "\u202e", "$(touch /tmp/x)")
    rng.choice(named).name = rng.choice((rng.choice(named).name, rng.choice(hostile)))


def _versions(rng: random.Random, model: onnx.ModelProto) -> None:
    if model.opset_import:
        rng.choice(model.opset_import).version = rng.choice(SIZES)
    model.ir_version = rng.choice(SIZES)


MUTATIONS: tuple[Mutation, ...] = (
    _tensor_dims, _value_dims, _large_image, _element_type, _constant, _constant, _constant, _external,
    _attribute, _attribute, _wires, _wires, _nodes, _ends, _names, _versions)


def _one(rng: random.Random, items: Sequence[object]) -> "object | None":
    return rng.choice(items) if len(items) else None
