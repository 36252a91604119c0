"""Data: cases, splits, slices and what a training step draws from them."""

from monai_ext.data.atomic import atomic_path, write_csv, write_json
from monai_ext.data.cases import Case, CaseError, Source, case_of_file, find_cases, list_cases, patient_of
from monai_ext.data.dataset import dataset_or_phantom, open_dataset
from monai_ext.data.export import LAYOUTS, StudyWriter, is_synthetic, mask_on_canvas, on_canvas, study_name
from monai_ext.data.folds import fold_splits, write_folds
from monai_ext.data.inspection import inspect_dataset
from monai_ext.data.lesions import random_lesion_label, random_lesion_slice
from monai_ext.data.map_pool import MapPool
from monai_ext.data.nifti import BRATS_AFFINE, write_nifti
from monai_ext.data.phantom import make_phantom_case, write_phantom_cases
from monai_ext.data.reading import LoadCased, read_case
from monai_ext.data.sampling import GenerationDataset, LesionBank, PlacementError
from monai_ext.data.saving import SaveLabelMapd
from monai_ext.data.slices import SliceDataset, SliceSampler, apply_seeded, read_label_slices, read_slices, seed_of
from monai_ext.data.split import LeakError, guard_leak, load_or_make_split, read_split, split_patients

__all__ = [
    "BRATS_AFFINE",
    "LAYOUTS",
    "Case",
    "CaseError",
    "GenerationDataset",
    "LeakError",
    "LesionBank",
    "LoadCased",
    "MapPool",
    "PlacementError",
    "SaveLabelMapd",
    "SliceDataset",
    "SliceSampler",
    "Source",
    "StudyWriter",
    "apply_seeded",
    "atomic_path",
    "case_of_file",
    "dataset_or_phantom",
    "find_cases",
    "fold_splits",
    "guard_leak",
    "inspect_dataset",
    "is_synthetic",
    "list_cases",
    "load_or_make_split",
    "make_phantom_case",
    "mask_on_canvas",
    "on_canvas",
    "open_dataset",
    "patient_of",
    "random_lesion_label",
    "random_lesion_slice",
    "read_case",
    "read_label_slices",
    "read_slices",
    "read_split",
    "seed_of",
    "split_patients",
    "study_name",
    "write_csv",
    "write_folds",
    "write_json",
    "write_nifti",
    "write_phantom_cases",
]
