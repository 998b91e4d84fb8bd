"""fairseq-train as this project needs it: whatever stops it, the same command goes on, and ends with the same weights.

fairseq trains in one folder as often as it is told to, at a time; copies checkpoints over those that are there; makes
another update when it resumes a training that is over; and takes data for whole that is not.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from functools import wraps
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils, utils
from fairseq.tasks.translation import TranslationTask

from one_layer_lt.errors import UserError
from one_layer_lt.files import whole, write_state
from one_layer_lt.lock import hold
from one_layer_lt.terminal import of_system
from one_layer_lt.text.manifest import FILE, Manifest

from .stop import stop

logger = logging.getLogger(__name__)

_HELD: dict[Path, int] = {}  # folder -> its handle; the system closes it when this process ends, however it does


def guard_training() -> None:
    """Put what is below in the places of fairseq's own, once."""
    if checkpoint_utils.verify_checkpoint_directory is claim:
        return
    checkpoint_utils.verify_checkpoint_directory = claim
    checkpoint_utils.PathManager.copy = staticmethod(copy)
    original_save, resume = checkpoint_utils.torch_persistent_save, checkpoint_utils.load_checkpoint

    @wraps(original_save)
    def save(obj: Any, filename: Any, async_write: bool = False) -> None:
        if async_write or not checkpoint_utils.PathManager.supports_rename(filename):
            original_save(obj, filename, async_write)
            return
        try:
            write_state(Path(filename), obj)
        except OSError as error:
            stop("fairseq-train", of_system(error))

    @wraps(resume)
    def resumed(cfg: Any, trainer: Any, **settings: Any) -> Any:
        try:
            extra, iterator = resume(cfg, trainer, **settings)
        except Exception as error:
            # fairseq's trainer says of whatever it meets that the architectures do not match.
            found: BaseException | None = error
            while found is not None and not isinstance(found, UserError):
                found = found.__context__
            if found is None:
                raise
            stop("fairseq-train", found)
        if 0 < trainer.cfg.optimization.max_update <= trainer.get_num_updates():
            trainer.cfg.optimization.max_epoch = -1  # fairseq looks there next
        anew = extra is None or cfg.reset_dataloader or cfg.finetune_from_model
        if not anew and getattr(trainer.get_model(), "of_other_text", False):
            logger.warning("%s goes on with other text than its training began with", cfg.restore_file)
        return extra, iterator

    checkpoint_utils.torch_persistent_save, checkpoint_utils.load_checkpoint = save, resumed
    TranslationTask.load_dataset = _verified(TranslationTask.load_dataset)


def claim(save_dir: str) -> None:
    """Hold the folder of the checkpoints, made if need be, as long as this process lives; see that it can be written.

    Where another training holds it, or it cannot be written, that is the end of this one.
    """
    folder = Path(save_dir).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if folder not in _HELD:
            handle = os.open(folder, os.O_RDONLY)
            hold(handle, f"--save-dir {save_dir}: another training is at it: wait, or stop that one")
            _HELD[folder] = handle
    except UserError as error:
        stop("fairseq-train", error)
    except OSError as error:
        stop("fairseq-train", of_system(OSError(error.errno, error.strerror, save_dir)))


def copy(source: str, target: str, overwrite: bool = False) -> bool:
    """Copy a checkpoint, whole."""
    try:
        with whole(Path(target)) as part:
            shutil.copyfile(source, part)
    except OSError as error:
        stop("fairseq-train", of_system(error))
    return True


def _verified(load: Any) -> Any:
    @wraps(load)
    def load_dataset(task: Any, split: str, *args: Any, **settings: Any) -> None:
        for folder in map(Path, utils.split_paths(task.cfg.data)):
            if (folder / FILE).is_file():
                try:
                    Manifest.read(folder).verify(folder, f"{split}.*", "dict.*")
                except UserError as error:
                    stop("fairseq", error)
        load(task, split, *args, **settings)

    return load_dataset
