"""The generators as MONAI's inference: a data set of their inputs for an evaluator, and what writes its output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch.utils.data import Dataset

from monai_ext.data import SliceDataset, StudyWriter, atomic_path, study_name
from monai_ext.synthesis.exported import StudyNetwork
from monai_ext.synthesis.stream import candidate_rng, latent_code


class NoiseDataset(Dataset):
    """Noise of the candidates of a seed, for networks that take nothing else; ``image`` is (size,).

    Args:
        size: numbers an item.
        count: items.
        seed: item k depends on (seed, k) alone, as candidate k of a generator does.
    """

    def __init__(self, size: int, count: int, seed: int = 0) -> None:
        self.size, self.count, self.seed = size, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": latent_code(candidate_rng(self.seed, index), self.size)[0], "candidate": index}


class LabelDataset(Dataset):
    """The label of each slice of a data set, and noise for the brain that is painted around it.

    An item has the inputs of :class:`monai_ext.synthesis.StudyNetwork`, and ``index``, ``case_id`` and ``slice``.

    Args:
        slices: labelled slices.
        network: what the inputs are for.
        seed: item k depends on (seed, k) and its label alone.
        threshold: see :meth:`StudyNetwork.forward`.
        style_scale: standard deviation of the style; 0 gives the mean contrast of the training set.
    """

    def __init__(
        self,
        slices: SliceDataset,
        network: StudyNetwork,
        seed: int = 0,
        threshold: float = 0.5,
        style_scale: float = 1.0,
    ) -> None:
        self.slices, self.seed, self.threshold, self.style_scale = slices, seed, threshold, style_scale
        self.sizes = (network.latent_size, network.style_size, network.noise_channels)

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        raw, rng = self.slices.raw(index), candidate_rng(self.seed, index)
        latent, style, noise = self.sizes
        return {
            "latent": latent_code(rng, latent)[0],
            "label": raw["label"],
            "threshold": torch.tensor([self.threshold]),
            "style": self.style_scale * torch.from_numpy(rng.standard_normal(style, dtype=np.float32)),
            "noise": torch.from_numpy(rng.standard_normal((noise, *raw["label"].shape[1:]), dtype=np.float32)),
            "index": index, "case_id": raw["case_id"], "slice": raw["slice"],
        }  # fmt: skip


def prepare_study(
    batch: Mapping[str, Any], device: str | torch.device | None = None, non_blocking: bool = False, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, torch.Tensor]]:
    """Batch of a :class:`LabelDataset` as MONAI's evaluators take it: input, label and the network's other inputs."""
    names = ("latent", "label", "threshold", "style", "noise")
    moved = {n: batch[n].to(device, non_blocking=non_blocking, **kwargs) for n in names}
    return moved.pop("latent"), moved["label"], (), moved


class SaveStudies:
    """Handler that writes what an evaluator painted around labels, with ``manifest.jsonl`` and ``dataset.json``.

    What of a label lies outside the brain that was drawn for it is left out of the label too.

    Args:
        writer: of the studies.
        seed: of the data set, for the manifest.
    """

    def __init__(self, writer: StudyWriter, seed: int = 0) -> None:
        self.writer, self.seed = writer, seed
        self.records: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Write after every iteration, and the lists at the end."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def save(self, engine: Engine) -> None:
        """Write the studies of an iteration."""
        for item, output in zip(engine.state.batch, engine.state.output):
            images, label = (output[k].detach().cpu() for k in ("pred", "label"))
            inside = label * (images > 0).any(0, keepdim=True)
            name = study_name(int(item["index"]))
            self.writer.write(name, images.numpy(), inside[0].numpy())
            self.records.append(
                {"name": name, "seed": self.seed, "candidate": int(item["index"]), "label_source": item["case_id"],
                 "label_slice": int(item["slice"]), "lesion_pixels": int((inside > 0).sum()),
                 "label_cut": int((label > 0).sum() - (inside > 0).sum())}
            )  # fmt: skip

    def finish(self, engine: Engine) -> None:
        """Write the lists."""
        with atomic_path(self.writer.root / "manifest.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(r) + "\n" for r in self.records), encoding="utf-8")
        self.writer.write_datalist(self.records)
