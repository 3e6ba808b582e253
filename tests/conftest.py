from pathlib import Path

import pytest

from small_models import branches, every_operator

SHARED = Path(__file__).parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--random", nargs=2, type=int, metavar=("FIRST", "COUNT"),
                     help="the random networks of these numbers instead of those of the suite")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real networks and images, which is no part of the repository."""
    if not (SHARED / "models").is_dir():
        pytest.skip(f"needs the real networks of {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def digits() -> Path:
    """The bundled network."""
    return Path(__file__).parents[1] / "models" / "digits.onnx"


@pytest.fixture(scope="session")
def digits_images(digits: Path) -> Path:
    """Held-out images of the bundled network, with labels."""
    return digits.with_name("digits_test.npz")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that uses every operator but those of `branched`."""
    return every_operator(tmp_path_factory.mktemp("small") / "small.onnx")


@pytest.fixture(scope="session")
def branched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with Concat, Resize and tables."""
    return branches(tmp_path_factory.mktemp("branched") / "branched.onnx")


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Inputs that failed once, which are no part of the repository."""
    if not (SHARED / "cases").is_dir():
        pytest.skip(f"needs {SHARED / 'cases'}")
    return SHARED / "cases"
