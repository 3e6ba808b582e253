"""The standard MobileNetV2 as a whole: from photos to classes, its classifier, its other quantisation."""
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from headrace.gen.importer.load import load
from headrace.gen.ir.graph import Graph
from headrace.gen.planning.planner import plan
from headrace.sim import inputs, reference, verify

FEATURES = "mobilenet_v2_1.0_224_features_qdq"
PER_CHANNEL = "mobilenet_v2_1.0_224_features_ortptq_u8s8pc_qdq"
WHOLE = "mobilenet_v2_1.0_224_qdq"
END = "MobilenetV2/expanded_conv_16/project/add_fold_QuantizeLinear_Output"  # the features, in WHOLE
BUDGET = 50_176  # one pixel per clock
GRACE_HOPPER = "grace_hopper.jpg"
PHOTOS = (GRACE_HOPPER, "n01807496_partridge.jpg", "n01877812_wallaby.jpg", "n02782093_balloon.jpg",
          "n04252225_snowplow.jpg", "n07920052_espresso.jpg")

Classes = Callable[[np.ndarray], list[int]]


@pytest.fixture(scope="module")
def classes(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Classes:
    """What the host does behind the last bottleneck: ONNX Runtime carries out the rest of the file."""
    path = tmp_path_factory.mktemp("rest") / "rest.onnx"
    onnx.utils.extract_model(shared / "models" / f"{WHOLE}.onnx", path, [END], ["output"])
    session = ort.InferenceSession(path)
    return lambda features: best(session.run(None, {END: features.astype(np.uint8)})[0])


def best(scores: np.ndarray) -> list[int]:
    """The best five of 1000 classes; class 0 of the file is the background."""
    order = np.argsort(-scores.ravel(), kind="stable") - 1
    return order[:5].tolist()


def expected(shared: Path, photo: str, x: np.ndarray, graph: Graph) -> list[int]:
    """The best five that ONNX Runtime finds with the whole file, which those on record have to equal."""
    q = graph.tensors[graph.input].quantisation
    session = ort.InferenceSession(shared / "models" / f"{WHOLE}.onnx")
    found = best(session.run(None, {"input": ((x - q.zero_point) * q.scale).astype(np.float32)})[0])
    with (shared / "images" / "predictions_ort.csv").open(newline="") as file:
        recorded = {row["file"]: row[f"{WHOLE.removesuffix('_qdq')}_top5"] for row in csv.DictReader(file)}
    if photo != GRACE_HOPPER:
        assert found == [int(number) for number in recorded[photo].split()]
    return found


def frame(shared: Path, photo: str) -> tuple[Graph, np.ndarray]:
    """The network up to its features, and a photo for it."""
    graph = load(shared / "models" / f"{FEATURES}.onnx")
    return graph, inputs.load([shared / "images" / photo], graph)


@pytest.mark.full
@pytest.mark.parametrize("photo", PHOTOS)
def test_classes_of_photos(shared: Path, classes: Classes, photo: str) -> None:
    """With the reference's features, which the hardware's equal."""
    graph, x = frame(shared, photo)
    assert classes(reference.run(graph, x)[graph.output]) == expected(shared, photo, x, graph)


@pytest.mark.bench
def test_class_of_a_photo_in_hardware(shared: Path, classes: Classes) -> None:
    graph, x = frame(shared, GRACE_HOPPER)
    result = verify.run(graph, plan(graph, cycles=BUDGET), x)
    assert not any(result.mismatches.values()), str(result.first)
    assert (found := classes(result.output)) == expected(shared, GRACE_HOPPER, x, graph)
    print(f"{GRACE_HOPPER}: classes {found}, 0 mismatches in {len(result.mismatches)} layers")


@pytest.mark.bench
@pytest.mark.parametrize("name", (PER_CHANNEL, WHOLE))
def test_frame_in_hardware(shared: Path, name: str) -> None:
    """One frame: every value of every layer, and the outputs of the file."""
    graph, golden = load(shared / "models" / f"{name}.onnx"), shared / "golden" / f"{name}.npz"
    layout = plan(graph, cycles=BUDGET)
    assert layout.cycles_per_frame <= BUDGET
    result = verify.run(graph, layout, inputs.load([golden], graph)[:1])
    assert not any(result.mismatches.values()), str(result.first)
    np.testing.assert_array_equal(result.output.ravel(), np.load(golden)["y"][0].ravel())
    print(f"{name}: {layout.multipliers} multipliers, first frame after {result.first_frame_latency}, "
          f"0 mismatches in {len(result.mismatches)} layers")
