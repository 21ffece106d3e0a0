"""Trains the tokenizer of a run from JSONL files and writes <workdir>/tokenizer.model."""
from collections.abc import Iterator, Sequence

from mathrl import records
from mathrl.text import tokenizer, train_tokenizer


def run(*, workdir, paths: Sequence[str], vocab_size: int,
        fields: Sequence[str] = ('text', 'problem', 'solution'), symbols: Sequence[str] = (),
        model_type: str = 'bpe', character_coverage: float = 0.9995, input_sentence_size: int = 1_000_000,
        config: str = '', dry_run: bool = False) -> None:
    """Reads those of `fields` that a row has; a row that has none of them is an error.

    symbols: pieces that are always one token. input_sentence_size: lines beyond it are sampled.
    """
    del config
    if dry_run:
        print(f'tokenizer: {vocab_size} pieces ({model_type}) from {", ".join(fields)} of {", ".join(paths)} '
              f'to {workdir / tokenizer.SENTENCEPIECE_FILE}')
        return
    model = train_tokenizer.train(_texts(paths, fields), vocab_size, model_type=model_type, symbols=symbols,
                                  character_coverage=character_coverage,
                                  input_sentence_size=input_sentence_size)
    trained = tokenizer.SentencePieceTokenizer(model)
    trained.save(workdir)
    print(f'tokenizer: {trained.vocab_size} pieces, digest {trained.digest[:12]}, in {workdir}')


def _texts(paths: Sequence[str], fields: Sequence[str]) -> Iterator[str]:
    for path in paths:
        for number, row in records.numbered_rows(path):
            found = [row[field] for field in fields if row.get(field)]
            if not any(field in row for field in fields):
                raise ValueError(f'{path} line {number}: none of the fields {", ".join(fields)} is there; '
                                 f'it has: {", ".join(row) or "no fields"}')
            for text in found:
                if not isinstance(text, str):
                    raise ValueError(f'{path} line {number}: {text!r:.60} is not text')
            yield from found
