"""What standard networks have besides convolutions and sums: functions, gates, pools and enlargement."""
import numpy as np

from headrace.hdl.arithmetic.geometry import Window
from headrace.models.qdq import Activation, QdqBuilder, same
from headrace.sim import reference


class Blocks(QdqBuilder):
    """Each method adds operators and returns what they make, quantised."""

    def leaky(self, name: str, x: Activation, alpha: float = 0.1) -> Activation:
        self._node("LeakyRelu", [x.name], f"{name}_real", name, alpha=alpha)
        return self._quantise(name, f"{name}_real", np.where(x.real < 0, alpha * x.real, x.real))

    def hard_swish(self, name: str, x: Activation) -> Activation:
        """``x * HardSigmoid(x)``, with nothing quantised between."""
        gate = self._node("HardSigmoid", [x.name], f"{name}_gate", alpha=1 / 6, beta=0.5)
        self._node("Mul", [x.name, gate], f"{name}_real", name)
        return self._quantise(name, f"{name}_real", x.real * np.clip(x.real / 6 + 0.5, 0, 1))

    def squeeze_and_excite(self, name: str, x: Activation, channels: int) -> Activation:
        """The image, each channel multiplied by what two layers make of all channels' means."""
        mean = self.global_pool(f"{name}_pool", x)
        narrow = self.conv(f"{name}_squeeze", mean, channels, relu=True)
        wide = self.conv(f"{name}_excite", narrow, x.values.shape[1], relu6=False)
        self._node("HardSigmoid", [wide.name], f"{name}_gate_real", f"{name}_gate", alpha=1 / 6, beta=0.5)
        gate = self._quantise(f"{name}_gate", f"{name}_gate_real", np.clip(wide.real / 6 + 0.5, 0, 1))
        self._node("Mul", [x.name, gate.name], f"{name}_real", name)
        return self._quantise(name, f"{name}_real", x.real * gate.real)

    def max_pool(self, name: str, x: Activation, kernel: int, stride: int) -> Activation:
        """As TensorFlow pads it."""
        (top, bottom), (left, right) = (same(size, kernel, stride) for size in x.values.shape[2:])
        window = Window((kernel, kernel), (stride, stride), (top, left, bottom, right))
        self._node("MaxPool", [x.name], f"{name}_real", name, kernel_shape=window.kernel,
                   strides=window.stride, pads=window.pads)
        greatest = np.max([*reference.taps(x.values, window, outside=0)], axis=0)
        return self._quantised(name, f"{name}_real", greatest, x.quantisation)

    def upsample(self, name: str, x: Activation, factor: int) -> Activation:
        """Each pixel as so many by so many."""
        factors = self._initialiser(f"{name}_factors", np.array([1, 1, factor, factor], np.float32))
        self._node("Resize", [x.name, "", factors], f"{name}_real", name, mode="nearest",
                   coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        values = x.values.repeat(factor, axis=2).repeat(factor, axis=3)
        return self._quantised(name, f"{name}_real", values, x.quantisation)

    def concat(self, name: str, *inputs: Activation) -> Activation:
        """The channels of all inputs."""
        self._node("Concat", [x.name for x in inputs], f"{name}_real", name, axis=1)
        return self._quantise(name, f"{name}_real", np.concatenate([x.real for x in inputs], axis=1))

    def classifier(self, x: Activation, classes: int) -> Activation:
        """A mean of the whole image, and a fully connected layer."""
        return self.gemm("predictions", self.flatten("flatten", self.global_pool("pool", x)), classes)
