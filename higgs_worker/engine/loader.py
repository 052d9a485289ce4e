"""Checkpoint on disk -> weights in memory, each tensor read directly into its fused view."""

import time
from pathlib import Path

import torch

from higgs_worker.checkpoint.tensor_file import LoadReport, open_tensors
from higgs_worker.engine.config import SOURCE, ModelConfig
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import NOT_NEEDED, Weights
from higgs_worker.engine.tensor_reader import fill


def load(
    directory: Path, *, device: torch.device, number_format: NumberFormat
) -> tuple[ModelConfig, Weights, LoadReport]:
    """Load the language model in `directory`.

    Raises:
        WeightsNotFound: a file is missing.
        InvalidCheckpoint: a file is damaged, or its tensors are not those of its configuration.
    """
    started = time.perf_counter()
    config = ModelConfig.from_directory(directory)
    # On the meta device: a wrong file is refused before memory is allocated.
    nowhere = torch.device("meta")
    planned = Weights.empty(config, device=nowhere, number_format=number_format).by_name(config)
    with open_tensors(
        directory,
        SOURCE,
        wanted={name: tuple(tensor.shape) for name, tensor in planned.items()},
        is_not_needed=NOT_NEEDED.__contains__,
    ) as tensors:
        weights = Weights.empty(config, device=device, number_format=number_format)
        targets = weights.by_name(config)
        num_bytes = fill(tensors.places, targets)
        report = LoadReport(num_bytes, time.perf_counter() - started)
    return config, weights, report
