"""Random networks as ONNX files, in either form of quantisation; numbers follow from a seed."""
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from functions import FUNCTIONS, Function, by_channel
from onnx_models import Q, QdqModel
from qoperator_models import QOperatorModel
from random_networks import Layer, Network, Shape


def save(network: Network, path: Path) -> Path:
    """Write the network as an ONNX file."""
    return _Builder(network).build().save(path)


class _Builder:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.rng = np.random.default_rng(network.seed)
        self.forms = np.random.default_rng((network.seed, 1))  # of the file, which change no layer
        weights = ("", "Clip", "QuantizeLinear")[self.forms.integers(3)]
        self.functions = np.random.default_rng((network.seed, 2))
        self.mixed = not network.operators and self.forms.random() < 0.25  # int8 and uint8 activations
        self.model = QOperatorModel() if network.operators else QdqModel(
            weights=weights, integer_clips=self.forms.random() < 0.3, dedicated=self.forms.random() < 0.3)
        self.count = 0

    def build(self) -> QdqModel:
        network, shape = self.network, self.network.shape
        q = self.q(0.02, network)
        x = self.model.input(self.sides(shape), q, real=network.real)
        if not network.operators and network.layers[0].kind == "gemm" and self.forms.random() < 0.7:
            del self.model.nodes[:]  # the vector is made before it is quantised
            flat = self.model.node("Flatten", ["x"], "x_flat")
            x = self.model.quantise(flat, q) if network.real else self.model.dequantise(flat, "x_flat_dq", q)
        for layer in network.layers:
            x = self.layer(layer, x, shape)
            shape = layer.output(shape)
        vector = any(layer.kind == "gemm" for layer in network.layers)
        self.model.output(x, shape[:1] if vector else self.sides(shape))
        if self.forms.random() < 0.5:
            for value in (*self.model.inputs, *self.model.outputs):
                value.type.tensor_type.shape.dim[0].dim_param = "batch"
        return self.model

    def sides(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """What ends with something vertical and something horizontal, as a file with rows has it."""
        return (*shape[:-2], shape[-1]) if self.network.rows else shape

    def window(self, layer: Layer) -> dict[str, Any]:
        """Attributes, but for the size of the kernel."""
        return dict(strides=self.sides(layer.stride), dilations=self.sides(layer.dilation),
                    pads=self.sides(layer.pads[:2]) + self.sides(layer.pads[2:]))

    def q(self, scale: float, layer: Layer | Network) -> Q:
        dtype = self.forms.choice((np.int8, np.uint8)) if self.mixed else self.network.dtype
        return Q(scale, int(np.iinfo(dtype).min) + layer.zero_point, dtype)

    def scale(self, about: float, spread: float = 1.0) -> float:
        value = about * 2.0 ** self.rng.uniform(-spread, spread)
        return float(2.0 ** np.round(np.log2(value)) if self.network.powers_of_two else np.float32(value))

    def layer(self, layer: Layer, x: str, shape: Shape) -> str:
        self.count += 1
        name, q = f"l{self.count}", self.model.quantisations[x]
        made = q if layer.keep else self.q(self.scale(q.scale), layer)
        window = dict(kernel_shape=self.sides(layer.kernel), **self.window(layer))
        if layer.kind == "average":
            del window["dilations"]
        match layer.kind:
            case "dense" | "depthwise" | "gemm":
                return self.conv(layer, x, shape, name)
            case "max" | "global max":
                operator = "MaxPool" if layer.kind == "max" else "GlobalMaxPool"
                options = window | dict(ceil_mode=int(layer.ceiling)) if layer.kind == "max" else {}
                if not self.bare(layer):
                    return self.model.operator(operator, [x], q, name=name, **options)
                self.model.quantisations[name] = q  # what follows reads it unquantised
                return self.model.node(operator, [x], name, **options)
            case "average":
                return self.model.operator("AveragePool", [x], made, name=name, count_include_pad=1, **window)
            case "global":
                return self.model.operator("GlobalAveragePool", [x], made, name=name)
            case "leaky" if (function := self.function(shape)) is not None:
                return self.model.quantise(function.add(self.model, x, name), made, name=name)
            case "leaky":
                alpha = float(self.rng.choice((0.1, 0.25, -0.5)))
                return self.model.operator("LeakyRelu", [x], made, name=name, alpha=alpha)
            case "requantise":
                return self.model.requantise(x, made, name=name)
            case "resize":
                factors = self.model.constant(f"{name}_factors", np.array(
                    [1, 1, *self.sides(layer.factors)], np.float32))
                return self.model.operator("Resize", [x, "", factors], q, name=name, mode="nearest",
                                           coordinate_transformation_mode="asymmetric", nearest_mode="floor")
            case "slice":
                places, axes = zip(*((place, axis) for axis, place in enumerate(self.sides(layer.places), 1)),
                                   strict=True)
                inputs = [self.model.constant(f"{name}_{what}", np.array(values)) for what, values in (
                    ("starts", [each.start for each in places]), ("ends", [each.stop for each in places]),
                    ("axes", axes), ("steps", [each.step for each in places]))]
                return self.model.operator("Slice", [x, *inputs], self.moved(q, made), name=name)
            case "shuffle":
                return self.shuffle(layer, x, shape, name, q)
            case "deepen":
                return self.model.operator("SpaceToDepth", [x], self.moved(q, made), name=name, blocksize=2)
        others = [self.chain(body, x, shape) for body in layer.bodies]
        first, *rest = [self.model.quantisations[other] for other in others]
        if layer.kind == "concat":
            about = max(each.scale for each in (first, *rest))
            made = first if layer.keep else self.q(self.scale(about), layer)
            return self.model.operator("Concat", others, made, name=name, axis=1)
        operands = [*others, x] if layer.swap else [x, *others]
        if layer.kind in ("product", "gate"):
            made = q if layer.keep else self.q(self.scale(64 * q.scale * first.scale, 2), layer)
            return self.model.operator("Mul", operands, made, name=name)
        made = q if layer.keep else self.q(self.scale(q.scale + first.scale), layer)
        subtracts = layer.kind == "difference" and not self.network.operators  # no kernel of that form does
        return self.model.operator("Sub" if subtracts else "Add", operands, made, name=name)

    def moved(self, q: Q, made: Q) -> Q:
        """The quantisation behind what moves values: of operators on integers, that before."""
        return q if self.network.operators else made

    def shuffle(self, layer: Layer, x: str, shape: Shape, name: str, q: Q) -> str:
        """Channels of groups in turn, by an order or by Reshape, Transpose and Reshape."""
        channels, groups, (each, more) = shape[0], layer.groups, divmod(shape[0], layer.groups)
        assert not more
        if self.network.rows or self.forms.random() < 0.4:
            order = np.arange(channels).reshape(groups, each).T.ravel()
            order = self.forms.permutation(order) if self.forms.random() < 0.3 else order
            return self.model.operator("Gather", [x, self.model.constant(f"{name}_order", order)], q,
                                       name=name, axis=1)
        between = self.forms.random() < 0.5
        for part, dims in (("grouped", (groups, each)), ("swapped", ()), ("shuffled", (channels,))):
            inputs = [x, self.model.constant(f"{name}_{part}", np.array([1, *dims, *shape[1:]]))]
            operator, attributes = ("Reshape", {}) if dims else ("Transpose", {"perm": [0, 2, 1, 3, 4]})
            x = self.model.node(operator, inputs if dims else inputs[:1], f"{name}_{part}_x", **attributes)
            if self.network.operators:
                self.model.quantisations[x] = q
            elif between or part == "shuffled":
                x = self.model.quantise(x, q)
        return x

    def function(self, shape: Shape) -> Function | None:
        """Another function in the place of a LeakyRelu."""
        if self.network.operators or self.functions.random() < 0.3:
            return None
        if self.functions.random() < 0.5:
            vector = any(layer.kind == "gemm" for layer in self.network.layers[:self.count - 1])
            return by_channel(self.functions, shape[0] if vector else self.sides((shape[0], 1, 1)))
        known = [function for function in FUNCTIONS if function.opset <= self.model.opset]
        return known[self.functions.integers(len(known))]

    def bare(self, layer: Layer) -> bool:
        """Whether an operator gets no QuantizeLinear, if it can do without."""
        network = self.network
        return not network.operators and layer is not network.layers[-1] and self.forms.random() < 0.5

    def chain(self, body: tuple[Layer, ...], x: str, shape: Shape) -> str:
        for layer in body:
            x = self.layer(layer, x, shape)
            shape = layer.output(shape)
        return x

    def conv(self, layer: Layer, x: str, shape: Shape, name: str) -> str:
        rng, q = self.rng, self.model.quantisations[x]
        depth = 1 if layer.kind == "depthwise" else shape[0]
        size = (layer.outputs, prod(shape)) if layer.kind == "gemm" else (
            layer.outputs, depth, *self.sides(layer.kernel))
        half = 1 << layer.weight_bits - 1
        weight, zero = rng.integers(-half, half, size).astype(np.int8), 0
        if self.network.form == "U8U8":
            zero = int(rng.integers(half, 257 - half))
            weight = (weight.astype(np.int16) + zero).astype(np.uint8)
        if rng.random() < 0.3:
            weight[rng.integers(layer.outputs)] = zero  # a dead channel
        scales = np.array([self.scale(1 / half) for _ in range(layer.outputs)], np.float32)
        factor = float(np.float32(q.scale) * scales.mean()) * half * np.sqrt(prod(size[1:]))
        made = self.q(self.scale(factor, 2), layer)
        options: dict[str, Any] = dict(
            scale=scales if layer.per_channel else float(scales[0]), zero_point=zero, name=name, clip=None,
            bias=rng.integers(-99 * half, 99 * half, layer.outputs) if layer.bias else None)
        if layer.bias and not self.network.operators and self.forms.random() < 0.5:
            unit = np.float32(q.scale) * np.asarray(options["scale"], np.float32)
            off = self.forms.uniform(-0.5, 0.5, layer.outputs)
            options["bias"] = ((options["bias"] + off) * unit).astype(np.float32)
        if layer.clip:
            options["clip"] = "Relu" if layer.clip == "Relu" else (0.0, 60 * made.scale)
        if layer.kind == "gemm":
            return self.model.gemm(x, weight, made, **options)
        return self.model.conv(x, weight, made, group=shape[0] if layer.kind == "depthwise" else 1,
                               **self.window(layer), **options)
