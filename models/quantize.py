"""Float ONNX to QDQ, with ONNX Runtime's own quantiser."""
import contextlib
import io
import logging
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from headrace.gen.importer.declared import MAX_ELEMENTS
from headrace.gen.importer.load import load
from headrace.gen.importer.passes import sizes
from headrace.gen.importer.passes.evaluate import evaluate
from headrace.gen.importer.passes.simplify import simplify
from headrace.gen.importer.source import cut as onnx_cut
from headrace.gen.importer.source import file as onnx_file
from headrace.gen.importer.source.file import quote, type_name
from headrace.gen.importer.source.kind import is_quantised
from headrace.gen.importer.source.node import OnnxNode
from headrace.gen.ir.errors import HeadraceError, shorten
from headrace.gen.ir.graph import Quantisation
from headrace.gen.system import files, processes
from headrace.models import function_steps as steps
from headrace.models import survey
from headrace.models.noise import Samples, Summary, compare, session
from headrace.sim.oracle import ERRORS

Integer = Literal["int8", "uint8"]

METHODS = {"minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy,
           "percentile": CalibrationMethod.Percentile}
_TYPES = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}
MAX_TOTAL = 1 << 28  # elements of all tensors but constants
_REASON = 400  # characters of a message
_FEW = 8  # samples that calibration is quick with
_OPSET = 13  # DequantizeLinear per channel

# What is computed with integers; what ends a network (Softmax, ...) stays real.
_QUANTISED = ["Add", "AveragePool", "Clip", "Concat", "Conv", "Flatten", "Gather", "Gemm",
              "GlobalAveragePool", "GlobalMaxPool", "MatMul", "MaxPool", "Mul", "Pad", "ReduceMean", "Relu",
              "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose"]

# What the tools raise for models that they cannot handle.
_FAILURES = (*ERRORS, ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError,
             RuntimeError, TypeError, ValueError, onnx.checker.ValidationError,
             onnx.shape_inference.InferenceError, version_converter.ConvertError)


@dataclass(frozen=True)
class Options:
    """How to quantise; the fields are those of ``quantize_static``."""

    activations: Integer = "uint8"
    weights: Integer = "int8"
    per_channel: bool = True
    method: str = "minmax"  # of METHODS


class FloatModel:
    """A float network with one input, of which open sizes are as :py:`sizes.fix()` says.

    It ends at the tensor ``cut``, if there is one.

    Raises
    ------
    :exc:`HeadraceError`
        If the file is damaged, quantised already, or its input is not supported.
    """

    def __init__(self, path: Path, shape: sizes.Given = None, cut: str | None = None) -> None:
        self.path = path
        self.proto = onnx_file.read(path)
        if any(map(is_quantised, self.proto.graph.node)):
            raise HeadraceError(f"{path}: quantised already; a float network is supported")
        if cut is not None:
            self.proto, _ = onnx_cut.cut(self.proto, path, cut)
        graph = self.proto.graph
        constants = {tensor.name for tensor in graph.initializer}
        sources = [value for value in graph.input if value.name not in constants]
        if len(sources) != 1:
            raise HeadraceError(f"{path}: {len(sources)} graph inputs; networks with one are supported")
        (source,) = sources
        where = f"{path}: input {quote(source.name)}"
        tensor = source.type.tensor_type
        if tensor.elem_type != onnx.TensorProto.FLOAT:
            raise HeadraceError(f"{where} is of {type_name(tensor.elem_type)}; float is supported")
        self.proto = sizes.fix(self.proto, path, shape)
        (source,) = (value for value in self.proto.graph.input if value.name not in constants)
        found = [int(dim.dim_value) for dim in source.type.tensor_type.shape.dim]
        if len(found) not in sizes.RANKS or min(found) < 1:
            raise HeadraceError(f"{where} has shape {sizes.describe(source)}; "
                                "four, three or two sizes are supported")
        if len(outputs := self.proto.graph.output) != 1:
            names = ", ".join(quote(value.name) for value in outputs[:9])
            raise HeadraceError(f"{path}: {len(outputs)} graph outputs ({names}); networks with one are "
                                "supported, and --cut TENSOR quantises up to one of them")
        self.name: str = source.name
        self.shape = tuple(found[1:])
        for value in self.proto.graph.output:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT  # an inner one may be declared nowhere
            value.type.tensor_type.ClearField("shape")
        del self.proto.graph.value_info[:]  # may speak of the batch

    def quantise(self, samples: Samples, options: Options, target: Path) -> Summary:
        """Quantise with `samples`, (N, *shape), as calibration data, and write ``target``.

        The file is written when the importer takes it; otherwise nothing is.

        Raises
        ------
        :exc:`HeadraceError`
            If ONNX Runtime or the importer refuses the network, or the file cannot be written.
        """
        if target.exists() and target.samefile(self.path):
            raise HeadraceError(f"{target}: is the float network; name another file")
        # ONNX Runtime takes no name of a file that the locale's encoding lacks: it works elsewhere.
        with files.replaced(target) as whole, processes.workspace() as folder:
            prepared, made = folder / "prepared.onnx", folder / "quantised.onnx"
            with self._tools():
                self._prepare(prepared)
            if len(samples) > _FEW:  # what the importer has to say shall not take long
                self._made(samples[:1], options, prepared, made)
            layers = self._made(samples, options, prepared, made)
            with self._tools():
                summary = compare(layers, self.name, samples, prepared, made)
            shutil.copyfile(made, whole)
        return summary

    def _made(self, samples: Samples, options: Options, prepared: Path, made: Path) -> int:
        """Quantise the network, and return how many layers the importer finds in it."""
        with self._tools():
            self._quantise(samples, options, prepared, made)
        try:
            return len(load(made).nodes)
        except HeadraceError as error:
            reason = str(error).removeprefix(f"{made}: ")
            raise HeadraceError(f"{self.path}: when quantised: {reason}") from error

    def _prepare(self, prepared: Path) -> None:
        model = _with_clips(simplify(evaluate(self.proto, self.path), self.path))
        survey.check(model, self.path)
        if max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
               default=0) < _OPSET:
            model = version_converter.convert_version(model, _OPSET)
        self._check_sizes(model)
        content = model.SerializeToString()
        session(content)  # what it refuses, the next step would only log
        prepared.write_bytes(content)
        quant_pre_process(prepared, prepared, skip_symbolic_shape=True)

    def _quantise(self, samples: Samples, options: Options, prepared: Path, made: Path) -> None:
        quantize_static(
            prepared, made, _Reader(self.name, samples), op_types_to_quantize=_QUANTISED,
            per_channel=options.per_channel, activation_type=_TYPES[options.activations],
            weight_type=_TYPES[options.weights], calibrate_method=METHODS[options.method],
            nodes_to_exclude=steps.name(prepared),
            extra_options={"ActivationSymmetric": False})
        signed = options.activations == "int8"
        steps.quantise_input(made, self.name, _range(samples, signed=signed))
        steps.quantise_before_moves(made)
        if steps.ends_in_function(made):
            run = session(prepared)
            ends = np.array([run(self.name, sample) for sample in samples])
            steps.quantise_output(made, _range(ends, signed=signed))

    def _check_sizes(self, model: onnx.ModelProto) -> None:
        """Refuse what would fill the memory, before anything is carried out."""
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        known = {value.name: prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)
                 for value in (*graph.value_info, *graph.output) if value.type.tensor_type.HasField("shape")}
        for node in graph.node:
            for name in filter(None, node.output):
                size, at = known.get(name, 0), OnnxNode(node, file=str(self.path))
                if size < 1:
                    raise at.error("its output has an unknown size; operators of ONNX with fixed sizes are "
                                   "supported")
                if size > MAX_ELEMENTS:
                    raise at.error(f"its output has {size} elements; up to {MAX_ELEMENTS} are supported")
        if (total := sum(known.values())) > MAX_TOTAL:
            raise HeadraceError(f"{self.path}: {total} elements in all tensors; "
                                f"up to {MAX_TOTAL} are supported")

    @contextlib.contextmanager
    def _tools(self) -> Iterator[None]:
        """Keep the tools from printing; what they raise becomes one line."""
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except _FAILURES as error:
            reason = shorten(str(error), _REASON) or type(error).__name__
            raise HeadraceError(f"{self.path}: ONNX Runtime cannot quantise it: {reason}") from error
        finally:
            logging.disable(before)


def _range(samples: Samples, *, signed: bool) -> Quantisation:
    """The quantisation in which all samples, and 0, just fit."""
    low, high = min(0.0, float(samples.min())), max(0.0, float(samples.max()))
    scale = float(np.float32((high - low) / 255)) or 1.0
    return Quantisation(scale, round(-low / scale) - 128 * signed, signed)


def _with_clips(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write Min and Max with one number as Clip, which takes no quantisation of its own; alters ``model``."""
    numbers = {tensor.name: tensor for tensor in model.graph.initializer
               if tensor.data_type == onnx.TensorProto.FLOAT and prod(tensor.dims) == 1}
    for node in model.graph.node:
        if node.op_type in ("Min", "Max") and len(node.input) == 2 and len(numbers.keys() & node.input) == 1:
            (limit,) = numbers.keys() & node.input
            (x,) = (name for name in node.input if name != limit)
            del numbers[limit].dims[:]
            node.input[:] = [x, "", limit] if node.op_type == "Min" else [x, limit]
            node.op_type = "Clip"
    return model


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, samples: Samples) -> None:
        self._feeds = ({name: sample[None]} for sample in samples)

    def get_next(self) -> dict[str, Samples] | None:
        return next(self._feeds, None)
