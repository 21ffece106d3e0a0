"""Trains a SentencePiece tokenizer for mathematics: digits apart, bytes for what is rare, no text changed.

Ids: padding 0, end 1, unknown 2, no begin. decode(encode(text)) == text, spaces and newlines included (not
U+2581, SentencePiece's own sign for a space).
"""
import io
import re
from collections.abc import Iterable, Iterator, Sequence

import sentencepiece

_LONGEST = 4000   # bytes of a training line; beyond its limit SentencePiece leaves lines out without a word


def train(texts: Iterable[str], vocab_size: int, model_type: str = 'bpe', character_coverage: float = 0.9995,
          symbols: Sequence[str] = (), input_sentence_size: int = 1_000_000) -> bytes:
    """The serialized model; the same texts and arguments give the same bytes.

    symbols: pieces that are always one token, such as '\\\\boxed{'. character_coverage: the share of
    characters that get pieces of their own (beside the 256 bytes). input_sentence_size: lines beyond it are
    sampled. ValueError when the vocabulary is too large or too small for the texts.
    """
    if model_type not in ('bpe', 'unigram'):
        raise ValueError(f'unknown model_type {model_type!r}; there are: bpe, unigram')
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_lines(texts), model_writer=model, vocab_size=vocab_size, model_type=model_type,
            character_coverage=character_coverage, user_defined_symbols=list(symbols), split_digits=True,
            byte_fallback=True, normalization_rule_name='identity', remove_extra_whitespaces=False,
            add_dummy_prefix=False, allow_whitespace_only_pieces=True, pad_id=0, eos_id=1, unk_id=2,
            bos_id=-1, input_sentence_size=input_sentence_size, shuffle_input_sentence=True,
            # The number is written into the model: another would change the digest of the same vocabulary.
            num_threads=16, max_sentence_length=2 * _LONGEST, minloglevel=2)
    except RuntimeError as error:
        raise ValueError(_sentence(str(error), vocab_size)) from None
    return model.getvalue()


def _lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in text.split('\n'):
            encoded = line.encode('utf-8').replace(b'\0', b' ')
            for start in range(0, len(encoded), _LONGEST):
                yield encoded[start:start + _LONGEST].decode('utf-8', errors='ignore')


def _sentence(message: str, vocab_size: int) -> str:
    if found := re.search(r'set it to a value <= (\d+)', message):
        return f'vocab_size={vocab_size} is more than these texts give pieces for; at most {found[1]}'
    if found := re.search(r'smaller than required_chars\. \d+ vs (\d+)', message):
        return (f'vocab_size={vocab_size} is less than the {found[1]} that 256 bytes and the texts\' '
                'characters need; raise it, or lower character_coverage')
    if 'sentences_.empty' in message:
        return 'no text to train a tokenizer on: every line is empty'
    return f'SentencePiece could not train: {message}'
