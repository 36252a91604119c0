"""One training on several processes, each a rank with a device and a share of every batch.

``DistributedDataParallel`` averages gradients when a module's own forward is followed by a backward; an
:class:`~monai_ext.engines.Objective` calls its networks many times in a step and has two backwards. So gradients are
averaged here, side by side, before the optimiser steps. Without a process group every function does nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn
from ignite import distributed as idist

from monai_ext.data import Case, open_dataset

CPU = torch.device("cpu")
BUCKET = 25_000_000  # bytes of gradients sent at a time


def world_size() -> int:
    """Processes of this training; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def rank_device() -> torch.device:
    """The GPU of this process on its machine (``LOCAL_RANK``, which ``torchrun`` sets), the CPU where there is none."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else CPU


def start_ranks() -> None:
    """Join the process group that ``torchrun`` describes: NCCL on GPUs, Gloo on CPUs. Only rank 0 logs information.

    Raises:
        RuntimeError: outside ``torchrun``.
    """
    if dist.is_initialized():
        return
    if "RANK" not in os.environ:
        raise RuntimeError("this config wants several processes: start it with torchrun --nproc_per_node=N")
    if torch.cuda.is_available():
        torch.cuda.set_device(rank_device())
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    idist.sync()  # ignite's first look at a group talks to every rank: one that came later, on rank 0 alone, would hang
    if dist.get_rank() > 0:
        logging.getLogger().setLevel(logging.WARNING)


def stop_ranks() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()
        idist.sync()


def open_dataset_in_turn(**settings: Any) -> dict[str, list[Case]]:
    """:func:`monai_ext.data.open_dataset` on rank 0 first, which may write the split and the phantom; others read them.

    Args:
        settings: of ``open_dataset``.
    """
    cases = open_dataset(**settings) if rank() == 0 else None
    if world_size() > 1:
        dist.barrier()
    return cases if cases is not None else open_dataset(**settings)


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Runs of tensors of one dtype, about :data:`BUCKET` bytes each."""
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or sum(t.nbytes for t in bucket) + tensor.nbytes > BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


@torch.no_grad()
def broadcast(tensors: Iterable[torch.Tensor]) -> None:
    """Overwrite tensors with those of rank 0, in place."""
    if world_size() == 1:
        return
    for bucket in _buckets(tensors):
        flat = torch.cat([t.flatten() for t in bucket])
        dist.broadcast(flat.view(torch.uint8), 0)  # as bytes: Gloo knows no bool
        _put_back(flat, bucket)


def broadcast_state(module: nn.Module) -> None:
    """Overwrite parameters and buffers with those of rank 0."""
    broadcast(module.parameters())
    broadcast(module.buffers())


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the ranks.

    A parameter that some rank did not use counts as a gradient of 0 there; one that no rank used keeps none, so that
    an optimiser leaves it alone as it does in a single process.

    Args:
        parameters: the same ones, in the same order, on every rank.
    """
    if world_size() == 1:
        return
    parameters = list(parameters)
    used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8, device=parameters[0].device)
    dist.all_reduce(used, dist.ReduceOp.MAX)
    shared = [p for p, u in zip(parameters, used.tolist()) if u]
    for parameter in shared:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets(p.grad for p in shared):
        flat = torch.cat([g.flatten() for g in bucket])
        dist.all_reduce(flat)
        _put_back(flat / world_size(), bucket)


def _put_back(flat: torch.Tensor, bucket: list[torch.Tensor]) -> None:
    """Parts of a flat tensor back into the tensors it was made of, whatever their memory format."""
    for tensor, part in zip(bucket, flat.split([t.numel() for t in bucket])):
        tensor.copy_(part.view(tensor.shape))
