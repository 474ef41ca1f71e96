"""Models that are already files of this machine."""

from __future__ import annotations

import os

from inglenook.errors import ModelSourceError
from inglenook.store.reference import PathReference


def locate(reference: PathReference) -> str:
    """The name of the model at a path: that of the file without its ending, or of the folder.

    Raises ModelSourceError where there is nothing, or something that can't be a model.
    """
    path = reference.path
    if os.path.isdir(path):
        return path.resolve().name
    if os.path.isfile(path):
        if path.suffix == ".safetensors":
            raise ModelSourceError(f"{path} holds weights alone; give its folder, which has config.json as well.")
        return path.stem
    what = "a broken link" if os.path.islink(path) else "nothing"
    raise ModelSourceError(f"There is {what} at {path}. Give a .gguf file, or a folder with config.json in it.")
