"""Models that are already files of this machine."""

from __future__ import annotations

from inglenook.errors import ModelSourceError
from inglenook.store.reference import PathReference


def locate(reference: PathReference) -> str:
    """The name of the model at a path: that of the file without its ending, or of the folder.

    Raises ModelSourceError where there is nothing, or something that can't be a model.
    """
    path = reference.path
    if path.is_dir():
        return path.resolve().name
    if path.is_file():
        if path.suffix == ".safetensors":
            raise ModelSourceError(f"{path} holds weights alone; give its folder, which has config.json as well.")
        return path.stem
    what = "a broken link" if path.is_symlink() else "nothing"
    raise ModelSourceError(f"There is {what} at {path}. Give a .gguf file, or a folder with config.json in it.")
