"""Text to ids and back: a SentencePiece model or a Hugging Face tokenizer.json. Both have the same names:

vocab_size eos_id pad_id bos_id (None: none) digest encode(text) -> ids decode(ids) -> text save(folder)
"""
import hashlib
import json
from collections.abc import Iterable

import sentencepiece
from etils import epath

SENTENCEPIECE_FILE = 'tokenizer.model'
HUGGING_FACE_FILE = 'tokenizer.json'
# Where no tokenizer_config.json says which token ends a text.
_END_TOKENS = ('<｜end▁of▁sentence｜>', '<|endoftext|>', '</s>', '<eos>', '<|im_end|>')


def load(path):
    """The tokenizer in a file, or in a folder that holds a tokenizer.model or a tokenizer.json."""
    path = epath.Path(path)
    if path.is_dir():
        path = _in_folder(path)
    if not path.exists():
        raise ValueError(f'{path}: there is no such tokenizer; a tokenizer.model, a tokenizer.json or the '
                         'folder of one was wanted')
    if path.suffix == '.json':
        return HuggingFaceTokenizer(path)
    return SentencePieceTokenizer(path.read_bytes(), str(path))


def _in_folder(folder: epath.Path) -> epath.Path:
    for name in (SENTENCEPIECE_FILE, HUGGING_FACE_FILE):
        if (folder / name).exists():
            return folder / name
    raise ValueError(f'{folder} holds no {SENTENCEPIECE_FILE} and no {HUGGING_FACE_FILE}')


class SentencePieceTokenizer:
    """A serialized SentencePiece model. Nothing is ever added at the start or the end of a text."""

    def __init__(self, model: bytes, where: str = 'tokenizer.model'):
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except (RuntimeError, TypeError):
            raise ValueError(f'{where} is not a SentencePiece model') from None
        if self._processor.eos_id() < 0:
            raise ValueError(f'{where} has no end token; generation would never stop')
        self.vocab_size = self._processor.vocab_size()
        self.eos_id = self._processor.eos_id()
        self.pad_id = self._processor.pad_id() if self._processor.pad_id() >= 0 else self.eos_id
        self.bos_id = self._processor.bos_id() if self._processor.bos_id() >= 0 else None
        self.digest = hashlib.sha256(model).hexdigest()

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Control tokens (end, padding) are left out; bytes that are no UTF-8 become U+FFFD.

        So are ids past the vocabulary: a model's may be larger, padded to a round number.
        """
        return self._processor.decode([int(one) for one in ids if one < self.vocab_size])

    def save(self, folder) -> None:
        (epath.Path(folder) / SENTENCEPIECE_FILE).write_bytes(self._model)


class HuggingFaceTokenizer:
    """A tokenizer.json; the names of its special tokens come from a tokenizer_config.json beside it."""

    def __init__(self, path):
        import tokenizers   # a SentencePiece run does not need it
        path = epath.Path(path)
        self._files = {HUGGING_FACE_FILE: path.read_text()}
        if (path.parent / 'tokenizer_config.json').exists():
            self._files['tokenizer_config.json'] = (path.parent / 'tokenizer_config.json').read_text()
        try:
            description = json.loads(self._files[HUGGING_FACE_FILE])
            names = json.loads(self._files.get('tokenizer_config.json', '{}'))
            self._tokenizer = tokenizers.Tokenizer.from_str(self._files[HUGGING_FACE_FILE])
        except Exception as error:   # the library raises a bare Exception
            raise ValueError(f'{path} is not a Hugging Face tokenizer ({error})') from None
        # Truncation and padding would be another program's habits, kept in the file.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        self.eos_id = _end_id(vocabulary, names, str(path))
        self.pad_id = vocabulary.get(_token(names, 'pad_token'), self.eos_id)
        self.bos_id = vocabulary.get(_token(names, 'bos_token'))
        parts = {key: value for key, value in description.items() if key not in ('truncation', 'padding')}
        self.digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Special tokens are left out."""
        return self._tokenizer.decode([int(one) for one in ids], skip_special_tokens=True)

    def save(self, folder) -> None:
        for name, text in self._files.items():
            (epath.Path(folder) / name).write_text(text)


def _end_id(vocabulary: dict[str, int], names: dict, where: str) -> int:
    wanted = [_token(names, 'eos_token')] if _token(names, 'eos_token') else list(_END_TOKENS)
    for token in wanted:
        if token in vocabulary:
            return vocabulary[token]
    raise ValueError(f'{where}: the end token is not in the vocabulary; looked for: {", ".join(wanted)}')


def _token(names: dict, kind: str) -> str | None:
    """tokenizer_config.json writes a token as text, or as {"content": text, ...}."""
    token = names.get(kind)
    return token['content'] if isinstance(token, dict) else token
