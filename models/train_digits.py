"""Trains and quantises the demo network: a small MobileNetV2 for scikit-learn's 8x8 digits.

Writes `digits.onnx` and `digits_test.npz`, the held-out images, beside itself; `README.md` describes both.
"""

import math
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

HERE = Path(__file__).resolve().parent
SEED = 0
EPOCHS = 100


class ConvNorm(nn.Sequential):
    """Convolution of "same" padding, batch normalisation and, if `relu6`, ReLU6."""

    def __init__(self, inputs, outputs, *, kernel=1, stride=1, groups=1, relu6=True):
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), *[nn.ReLU6()] * relu6)

    def folded(self):
        """Weight and bias of the one convolution that equals this module in inference."""
        conv, norm = self[0], self[1]
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return conv.weight * gain.reshape(-1, 1, 1, 1), norm.bias - norm.running_mean * gain


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand 1x1, depthwise 3x3, project 1x1 without activation."""

    def __init__(self, inputs, hidden, outputs, *, stride=1):
        super().__init__()
        self.expand = ConvNorm(inputs, hidden)
        self.depthwise = ConvNorm(hidden, hidden, kernel=3, stride=stride, groups=hidden)
        self.project = ConvNorm(hidden, outputs, relu6=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class DigitsNet(nn.Module):
    """Logits `(N, 10)` of images `(N, 1, 8, 8)` with values 0..1."""

    def __init__(self):
        super().__init__()
        self.stem = ConvNorm(1, 8, kernel=3)
        self.block1 = InvertedResidual(8, 16, 8)
        self.block2 = InvertedResidual(8, 16, 12, stride=2)
        self.block3 = InvertedResidual(12, 16, 12)
        self.head = ConvNorm(12, 24)
        self.classifier = nn.Linear(24, 10)

    def forward(self, x):
        x = self.head(self.block3(self.block2(self.block1(self.stem(x)))))
        return self.classifier(x.mean((2, 3)))


def load_data():
    """Training and held-out images `(N, 1, 8, 8)` and their labels.

    The pixels, 0..16 in scikit-learn's copy, become a greyscale image 0..255, divided by 255: then the
    quantised input is that image.
    """
    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16))
    images = (grey / 255).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = digits.target
    return train_test_split(images, labels, test_size=400, random_state=SEED, stratify=labels)


def augment(images):
    """Shifts each image by up to one pixel in both directions and adds a little noise."""
    windows = functional.pad(images, (1, 1, 1, 1)).unfold(2, 8, 1).unfold(3, 8, 1)
    dy, dx = torch.randint(3, (2, len(images)))
    shifted = windows[torch.arange(len(images)), :, dy, dx]
    return (shifted + 0.03 * torch.randn_like(shifted)).clamp(0, 1)


def train(images, labels):
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the order of a sum, so its rounding, depends on the threads
    images, labels = torch.from_numpy(images), torch.from_numpy(labels)
    net = DigitsNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(64):
            logits = net(augment(images[batch]))
            loss = functional.cross_entropy(logits, labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def export(net):
    """The float network as ONNX, with batch normalisation folded into the convolutions."""
    nodes = []
    constants = {"relu6/min": np.float32(0), "relu6/max": np.float32(6)}

    def add(op, name, *inputs, output=None, **attributes):
        output = output or f"{name}/output"
        nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def conv(name, x, module):
        weight, bias = module.folded()
        constants[f"{name}/weight"], constants[f"{name}/bias"] = weight.numpy(), bias.numpy()
        geometry = module[0]
        x = add(
            "Conv", name, x, f"{name}/weight", f"{name}/bias", group=geometry.groups,
            kernel_shape=geometry.kernel_size, pads=geometry.padding * 2, strides=geometry.stride,
        )  # fmt: skip
        if len(module) == 3:
            x = add("Clip", f"{name}/relu6", x, "relu6/min", "relu6/max")
        return x

    x = "image"
    for name, module in net.named_children():
        if isinstance(module, ConvNorm):
            x = conv(name, x, module)
        elif isinstance(module, InvertedResidual):
            y = x
            for part, child in module.named_children():
                y = conv(f"{name}/{part}", y, child)
            x = add("Add", f"{name}/add", x, y) if module.residual else y
    x = add("Flatten", "flatten", add("GlobalAveragePool", "pool", x))
    parameters = {f"classifier/{k}": v.numpy() for k, v in net.classifier.named_parameters()}
    add("Gemm", "classifier", x, *parameters, output="logits", transB=1)
    constants.update(parameters)

    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "digits", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="headrace")
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


class Images(quantization.CalibrationDataReader):
    def __init__(self, images):
        self.feeds = ({"image": image[np.newaxis]} for image in images)

    def get_next(self):
        return next(self.feeds, None)


def quantise(model, images):
    """`model` with QDQ nodes: activations unsigned, weights signed and per output channel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        # Adds only the mark without which quantize_static advises to run it.
        quantization.quant_pre_process(model, path, skip_optimization=True, skip_symbolic_shape=True)
        quantization.quantize_static(
            path, path, Images(images), quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8, per_channel=True,
        )  # fmt: skip
        result = onnx.load(path)
    del result.metadata_props[:]
    return result


def print_layers(model):
    """Prints output shape, weights (biases not counted) and multiplications of each layer."""
    tensors = [*model.graph.value_info, *model.graph.output]
    shapes = {t.name: [d.dim_value for d in t.type.tensor_type.shape.dim][1:] for t in tensors}
    dims = {constant.name: constant.dims for constant in model.graph.initializer}
    total = np.zeros(2, int)
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            shape, weights = shapes[node.output[0]], math.prod(dims[node.input[1]])
            counts = weights, weights * math.prod(shape[1:])
            total += counts
            print("{:18} {:8} {:5} {:6}".format(node.name, "x".join(map(str, shape)), *counts))
    print("{:27} {:5} {:6}".format("total", *total))


def accuracy(model, images, labels):
    options = ort.SessionOptions()
    # Without it the products of 8-bit values saturate on x86 processors that lack VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(model.SerializeToString(), options)
    logits = [session.run(None, {"image": image[np.newaxis]})[0][0] for image in images]
    return np.mean(np.argmax(logits, axis=1) == labels)


def main():
    train_x, test_x, train_y, test_y = load_data()
    model = export(train(train_x, train_y))
    quantised = quantise(model, train_x)
    onnx.checker.check_model(quantised, full_check=True)
    onnx.save(quantised, HERE / "digits.onnx")
    np.savez_compressed(HERE / "digits_test.npz", x=test_x, labels=test_y)
    print_layers(model)
    print(f"float accuracy      {accuracy(model, test_x, test_y):.2%}")
    print(f"quantised accuracy  {accuracy(quantised, test_x, test_y):.2%}")


if __name__ == "__main__":
    main()
