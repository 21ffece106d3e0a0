"""Text to ids and back: a SentencePiece model or a Hugging Face tokenizer.json. Both have the same names:

vocab_size eos_id pad_id bos_id (None: none) stop_ids (every token that ends an output, eos_id among them) digest
encode(text) -> ids, nothing added; encode_prompt(text) -> ids, with what the tokenizer's file puts around a text;
encode_chat(text) -> ids of the prompt in which a user says it; decode(ids) -> text; save(folder);
export(folder), in Hugging Face's form
"""
import hashlib
import json
from collections.abc import Iterable

import sentencepiece
from etils import epath

from mathrl.text import chat, sentencepiece_json

SENTENCEPIECE_FILE = 'tokenizer.model'
HUGGING_FACE_FILE = 'tokenizer.json'
# Beside a tokenizer.json, and kept with it: special tokens' names, chat template, which tokens end an output.
_BESIDE = _CONFIG, _TOKENS, _TEMPLATE, _GENERATION = (
    'tokenizer_config.json', 'special_tokens_map.json', 'chat_template.jinja', 'generation_config.json')
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
    for name in (HUGGING_FACE_FILE, SENTENCEPIECE_FILE):      # where there are both, the former has the special tokens
        if (folder / name).exists():
            return folder / name
    raise ValueError(f'{folder} holds no {SENTENCEPIECE_FILE} and no {HUGGING_FACE_FILE}')


class SentencePieceTokenizer:
    """A serialized SentencePiece model."""

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
        self.stop_ids = (self.eos_id,)
        self.digest = hashlib.sha256(model).hexdigest()

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def encode_prompt(self, text: str) -> list[int]:
        return ([] if self.bos_id is None else [self.bos_id]) + self.encode(text)

    def encode_chat(self, text: str) -> list[int]:
        raise ValueError('a SentencePiece tokenizer has no chat template: give the prompt as it stands (TEMPLATE=False)')

    def decode(self, ids: Iterable[int]) -> str:
        """Control tokens (end, padding) are left out; bytes that are no UTF-8 become U+FFFD.

        So are ids past the vocabulary: a model's may be larger, padded to a round number.
        """
        return self._processor.decode([int(one) for one in ids if one < self.vocab_size])

    def save(self, folder) -> None:
        (epath.Path(folder) / SENTENCEPIECE_FILE).write_bytes(self._model)

    def export(self, folder) -> None:
        """A tokenizer.json; of a model that changes texts, which Hugging Face has a class for, the model itself."""
        if sentencepiece_json.changes_texts(self._model):
            return self.save(folder)
        for name, text in sentencepiece_json.convert(self._model).items():
            (epath.Path(folder) / name).write_text(text)


class HuggingFaceTokenizer:
    """A tokenizer.json; its special tokens, chat template and end tokens come from the files beside it."""

    def __init__(self, path):
        import tokenizers   # a SentencePiece run does not need it
        path = epath.Path(path)
        self._files = {name: (path.parent / name).read_text() for name in _BESIDE if (path.parent / name).exists()}
        self._files[HUGGING_FACE_FILE] = path.read_text()
        try:
            description = json.loads(self._files[HUGGING_FACE_FILE])
            self._tokenizer = tokenizers.Tokenizer.from_str(self._files[HUGGING_FACE_FILE])
        except Exception as error:   # the library raises a bare Exception
            raise ValueError(f'{path} is not a Hugging Face tokenizer ({error})') from None
        # Truncation and padding would be another program's habits, kept in the file.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        names = _json_object(self._files, _TOKENS, path) | _json_object(self._files, _CONFIG, path)
        if _GENERATION not in self._files:
            self._files |= _generation_of_model(path.parent / 'config.json')
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        stop_ids = _stop_ids(_json_object(self._files, _GENERATION, path), self.vocab_size)
        self.eos_id = _end_id(vocabulary, names, stop_ids, str(path))
        self.stop_ids = (self.eos_id, *(one for one in stop_ids if one != self.eos_id))
        self.pad_id = vocabulary.get(_token(names, 'pad_token'), self.eos_id)
        self.bos_id = vocabulary.get(_token(names, 'bos_token'))
        tokens = {kind: _token(names, kind) for kind in names if kind.endswith('_token')}
        self._special_tokens = {kind: token for kind, token in tokens.items() if isinstance(token, str)}
        self._template = self._files.get(_TEMPLATE) or _template(names)
        parts = {key: value for key, value in description.items() if key not in ('truncation', 'padding')}
        self.digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """As `encode`, and the characters at which each token starts and ends."""
        found = self._tokenizer.encode(text, add_special_tokens=False)
        return found.ids, found.offsets

    def encode_prompt(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).ids

    def encode_chat(self, text: str) -> list[int]:
        """ValueError where there is no chat template; what it writes holds its special tokens already."""
        if not self._template:
            raise ValueError('the tokenizer has no chat template (in tokenizer_config.json or chat_template.jinja): '
                             'give the prompt as it stands (TEMPLATE=False)')
        return self.encode(chat.render(self._template, [{'role': 'user', 'content': text}], self._special_tokens))

    def decode(self, ids: Iterable[int]) -> str:
        """Special tokens are left out, and so are ids past the vocabulary."""
        return self._tokenizer.decode([int(one) for one in ids if one < self.vocab_size], skip_special_tokens=True)

    def save(self, folder) -> None:
        for name, text in self._files.items():
            (epath.Path(folder) / name).write_text(text)

    def export(self, folder) -> None:
        self.save(folder)


def _json_object(files: dict[str, str], name: str, path: epath.Path) -> dict:
    """A file beside the tokenizer; {} where it is absent."""
    try:
        found = json.loads(files.get(name, '{}'))
    except ValueError as error:
        raise ValueError(f'{path.parent / name} is not JSON ({error})') from None
    if not isinstance(found, dict):
        raise ValueError(f'{path.parent / name} is no JSON object')
    return found


def _generation_of_model(path: epath.Path) -> dict[str, str]:
    """A generation_config.json out of a model's config.json, which older folders have instead; {} where it says nothing."""
    if not path.exists():
        return {}
    fields = _json_object({path.name: path.read_text()}, path.name, path)
    kept = {name: fields[name] for name in ('bos_token_id', 'eos_token_id', 'pad_token_id') if fields.get(name) is not None}
    return {_GENERATION: json.dumps(kept, indent=2) + '\n'} if 'eos_token_id' in kept else {}


def _stop_ids(generation: dict, vocab_size: int) -> list[int]:
    """{"eos_token_id": [128001, 128009]} -> [128001, 128009]; one number is a list of one.

    A number past the vocabulary is no token: small models often have the number of the family's large ones.
    """
    found = generation.get('eos_token_id')
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, int) and 0 <= one < vocab_size]


def _template(names: dict) -> str:
    """The chat template of a tokenizer_config.json: a text, or a list of named ones; '' for none."""
    found = names.get('chat_template') or ''
    if isinstance(found, list):
        return {one['name']: one['template'] for one in found}.get('default', '')
    return found


def _end_id(vocabulary: dict[str, int], names: dict, stop_ids: list[int], where: str) -> int:
    """The token that ends an answer; of several that stop a model, the tokenizer's end token: a chat model's end of turn."""
    named = vocabulary.get(_token(names, 'eos_token'))
    if stop_ids:
        return named if named in stop_ids else stop_ids[0]
    wanted = [_token(names, 'eos_token')] if _token(names, 'eos_token') else list(_END_TOKENS)
    for token in wanted:
        if token in vocabulary:
            return vocabulary[token]
    raise ValueError(f'{where}: the end token is not in the vocabulary; looked for: {", ".join(wanted)}')


def _token(names: dict, kind: str) -> str | None:
    """tokenizer_config.json writes a token as text, or as {"content": text, ...}."""
    token = names.get(kind)
    return token['content'] if isinstance(token, dict) else token
