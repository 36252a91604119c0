"""Say what a folder of cases holds: check_dataset.py DIR [--json FILE] [--split FILE].

Exit code 0: all good; 1: something is wrong, and the text says with which case; 2: no case found. Also
``--modalities t1c,t2f`` and ``--slice_range "[0, 155]"``, as they will be given to the trainings.
"""

from __future__ import annotations

import fire

from monai_ext.commands import check_dataset

if __name__ == "__main__":
    fire.Fire(check_dataset)
