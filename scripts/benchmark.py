"""Seconds and memory of this package beside references, in one run and in turns.

benchmark.py cgan   a set of four registered modalities, and a training step, beside networks of StarGAN's shape
benchmark.py maps   Algorithm 1 in batches beside one slice at a time, and maps from noise
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from stargan import Discriminator, Generator, generate_set, training_step

from monai_ext.bundles import bundle_root, from_config, load_weights, model_file
from monai_ext.data import on_canvas
from monai_ext.engines import AdversarialTrainer
from monai_ext.networks import FeatGen
from monai_ext.transforms import background_mask, erase_lesion, fuse_lesion, structural_feature_map

Settings = argparse.Namespace
Work = Callable[[], object]
CROP = (160, 192)  # what the bundles are trained with
SLICES = 64
BETA = 0.07


def brains(count: int, size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Textured ellipses (count, 1, H, W) in [0, 1] on a background of 0, and labels with a lesion in each."""
    rng = torch.Generator().manual_seed(0)
    axes = [torch.linspace(-1, 1, s) for s in size]
    x, y = torch.meshgrid(*axes, indexing="ij")
    coarse = torch.rand(count, 1, *(max(s // 8, 2) for s in size), generator=rng)
    texture = torch.nn.functional.interpolate(coarse, size=tuple(size), mode="bilinear")
    image = (0.1 + 0.9 * texture) * ((x / 0.8) ** 2 + (y / 0.9) ** 2 <= 1)
    label = 3.0 * ((x - 0.2) ** 2 + (y - 0.1) ** 2 <= 0.02)
    return image, label.expand(count, 1, -1, -1).clone()


def our_set(settings: Settings, size: Sequence[int] | None = None) -> Work:
    """Map, label, style and noise -> four modalities on the canvas, as the synthesis bundle paints them."""
    size = size or (settings.size, settings.size)
    network = from_config(bundle_root("cgan"), "train.json", "network_def").to(settings.device).eval()
    image, label = brains(1, size)
    structure, mask = structural_feature_map(image), background_mask(image)
    style, noise = torch.zeros(1, network.style_size), torch.randn(1, network.noise_channels, *size)

    def work() -> np.ndarray:
        fused = fuse_lesion(erase_lesion(structure, label, network.shown_classes), label, network.num_classes)
        with torch.no_grad():
            images = network(*(t.to(settings.device) for t in (fused, style, noise)))
        return on_canvas((images.cpu() * (1 - mask)).numpy(), [max(settings.size, s) for s in size])

    return work


def stargan_set(settings: Settings) -> Work:
    """One image -> four modalities, a forward each."""
    generator = Generator().to(settings.device).eval()
    image = brains(1, (settings.size, settings.size))[0].to(settings.device)
    return lambda: generate_set(generator, image).cpu()


def our_step(settings: Settings, every_loss: bool = True) -> Work:
    """One study: a step of every network; ``every_loss`` gives each term a weight and translates in every step."""
    overrides = {"translate_probability": 1.0, "num_targets": 2} if every_loss else {}
    objective = from_config(
        bundle_root("cgan"), "train.json", "objective", device=settings.device,
        canvas_size=[settings.size] * 2, **overrides,
    )  # fmt: skip
    if every_loss:
        objective.weights = {n: w or 1.0 for n, w in objective.weights.items()}
    optimizers = [torch.optim.Adam(m.parameters(), 4e-4) for m in (objective.generator, objective.discriminator)]
    image, label = brains(4, (settings.size, settings.size))
    labels = label.view(1, 4, *label.shape[2:])
    batch = {"image": image.view_as(labels), "label": labels, "target": labels, "own": torch.ones(1, 4)}
    return lambda: AdversarialTrainer(
        settings.device, 1, [batch], objective, *optimizers, amp=settings.amp
    ).run()  # fmt: skip


def stargan_step(settings: Settings) -> Work:
    """One image: a step of D and one of G."""
    networks = [n.to(settings.device) for n in (Generator(), Discriminator(settings.size))]
    return training_step(brains(1, (settings.size, settings.size))[0].to(settings.device), *networks, amp=settings.amp)


def reference_map(image: np.ndarray, beta: float = BETA) -> np.ndarray:
    """Algorithm 1 on one slice (H, W), with SciPy."""
    responses = [ndimage.sobel(image, axis, mode="mirror") for axis in (0, 1)]
    low, high = np.minimum(*responses), np.maximum(*responses)
    low, high = ((r - r.min()) / max(r.max() - r.min(), 1e-12) for r in (low, high))
    return (low.mean() - low > beta) | (high - high.mean() > beta)


def batched_maps(settings: Settings) -> Work:
    """Algorithm 1 on a batch."""
    image = brains(SLICES, (settings.size, settings.size))[0].to(settings.device)
    return lambda: structural_feature_map(image, BETA).cpu()


def single_maps(settings: Settings) -> Work:
    """Algorithm 1 slice by slice."""
    image = brains(SLICES, (settings.size, settings.size))[0].numpy()
    return lambda: np.stack([reference_map(i[0]) for i in image])[:, None]


def agreement(settings: Settings) -> float:
    """Share of pixels on which the two agree."""
    return float((batched_maps(settings)().numpy().astype(bool) == single_maps(settings)()).mean())


def noise_maps(settings: Settings, batch: int) -> Work:
    """Noise -> structure maps and masks, by the shipped generator."""
    root = bundle_root("featgen")
    network: FeatGen = load_weights(from_config(root, "train.json", "network_def"), model_file(root))
    network = network.to(settings.device).eval()
    noise = torch.randn(batch, network.latent_size)

    def work() -> list[torch.Tensor]:
        with torch.no_grad():
            return [t.cpu() for t in network(noise.to(settings.device))]

    return work


# name -> what builds the work, and how many images, sets, steps or maps it makes
CONTENDERS: Mapping[str, Mapping[str, tuple[Callable[[Settings], Work], int]]] = {
    "set of four modalities": {
        "this package": (our_set, 1),
        f"this package, crop {CROP[0]} x {CROP[1]} as shipped": (lambda s: our_set(s, CROP), 1),
        "StarGAN's shape": (stargan_set, 1),
    },
    "training step": {
        "this package, every loss, four modalities": (our_step, 1),
        "this package, losses as shipped": (lambda s: our_step(s, every_loss=False), 1),
        "StarGAN's shape, one modality": (stargan_step, 1),
    },
    "Algorithm 1, slice": {
        f"this package, batch {SLICES}": (batched_maps, SLICES),
        "SciPy, one by one": (single_maps, SLICES),
    },
    "map from noise": {
        "this package, batch 1": (lambda s: noise_maps(s, 1), 1),
        "this package, batch 16": (lambda s: noise_maps(s, 16), 16),
    },
}
TASKS = {"cgan": ("set of four modalities", "training step"), "maps": ("Algorithm 1, slice", "map from noise")}


def in_turns(works: Mapping[str, Work], rounds: int, device: str = "cpu") -> dict[str, float]:
    """Median seconds of each work; every round runs all of them, so that what else the machine does hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(s) for name, s in seconds.items()}


def peak_memory(device: str = "cpu") -> float:
    """Most memory that this process has held so far, in MB; on a GPU that of its tensors."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if status.is_file():  # of this program: what getrusage gives counts the parent too, up to the start
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def peak_of(settings: Settings, group: str, name: str) -> float:
    """Peak memory in MB of a process that does one work and nothing else; without a name, of the imports alone."""
    command = [
        sys.executable, __file__, "peak", "--group", group, "--name", name, "--size", str(settings.size),
        "--threads", str(settings.threads), "--device", settings.device, *(["--amp"] if settings.amp else []),
    ]  # fmt: skip
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measure(settings: Settings) -> None:
    """Print a table for each group of a task."""
    for group in TASKS[settings.task]:
        contenders = CONTENDERS[group]
        if group.startswith("Algorithm 1"):
            share = agreement(settings)
            assert share > 0.999, f"the two algorithms differ in {1 - share:.2%} of the pixels"
            print(f"Algorithm 1: the two agree on {share:.4%} of the pixels")
        medians = in_turns(
            {n: build(settings) for n, (build, _) in contenders.items()}, settings.rounds, settings.device
        )
        print(f"\n| {group}, {settings.size} x {settings.size} | seconds | a second | peak MB |\n|---|---|---|---|")
        for name, (_, count) in contenders.items():
            each = medians[name] / count
            memory = f"{peak_of(settings, group, name):.0f}" if settings.memory else "-"
            print(f"| {name} | {each:.4f} | {1 / each:.1f} | {memory} |", flush=True)
    if settings.memory:
        print(f"\nmedians of {settings.rounds} rounds; a process that only imports: {peak_of(settings, '', ''):.0f} MB")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    shared.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    shared.add_argument("--device", default="cpu", help="for instance cuda (default cpu)")
    shared.add_argument("--size", type=int, default=240, help="side of the images, a multiple of 16, 64 or more")
    shared.add_argument("--amp", action="store_true", help="train in bfloat16, all alike (default float32)")
    shared.add_argument("--no-memory", dest="memory", action="store_false", help="leave the memory out")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True, metavar="{cgan,maps}")
    for task in TASKS:
        tasks.add_parser(task, parents=[shared])
    one = tasks.add_parser("peak", parents=[shared])  # what `measure` starts for each contender
    one.add_argument("--group")
    one.add_argument("--name")
    settings = parser.parse_args(arguments)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    if settings.task != "peak":
        measure(settings)
        return
    if settings.name:
        CONTENDERS[settings.group][settings.name][0](settings)()
    print(peak_memory(settings.device))


if __name__ == "__main__":
    main()
