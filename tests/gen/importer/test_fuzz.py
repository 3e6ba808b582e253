"""Thousands of damaged models: each ends in a graph or in one line of the project's own error."""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import fuzzing

FILES = 1250  # for each seed
SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.full) for seed in range(4, 16))]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits address space as Linux does")
@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_models(seed: int) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as worker:
        loaded, wrong = worker.submit(fuzzing.run, seed, FILES).result()
    assert not wrong
    assert FILES // 20 < loaded < FILES  # neither harmless nor all broken at the first look
