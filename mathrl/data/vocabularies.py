"""seqio vocabularies: SentencePiece models by seqio's own, a Hugging Face tokenizer.json by one of ours."""
import functools
import os
from collections.abc import Sequence

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')   # before the import: it greets at length otherwise
import numpy as np
import seqio
import tensorflow as tf

from mathrl.text import tokenizer as tokenizers


def vocabulary(tokenizer: str) -> seqio.Vocabulary:
    """Of a tokenizer.model, a tokenizer.json or the folder of one; it is read when it is first used."""
    path = str(tokenizer)
    if not path.endswith(('.json', '.model')):
        json = os.path.join(path, tokenizers.HUGGING_FACE_FILE)
        path = json if os.path.exists(json) else os.path.join(path, tokenizers.SENTENCEPIECE_FILE)
    return TokenizerJson(path) if path.endswith('.json') else seqio.SentencePieceVocabulary(path, extra_ids=0)


@functools.lru_cache(maxsize=4)
def load(path: str):
    """The tokenizer in a file, once a process."""
    return tokenizers.load(path)


def tokenizer_of(task: seqio.Task | seqio.Mixture):
    """Our tokenizer from the file of a task's vocabulary. ValueError where it is missing."""
    return _tokenizer(task.output_features['targets'].vocabulary)


def _tokenizer(known: seqio.Vocabulary):
    return load(known.path if isinstance(known, TokenizerJson) else known.sentencepiece_model_file)


def first_ids(known: seqio.Vocabulary) -> np.ndarray:
    """What the tokenizer's file puts before a text (int32), as prompts have it in RL and evaluation: [bos], or []."""
    tokenizer = _tokenizer(known)
    plain, whole = tokenizer.encode('1'), tokenizer.encode_prompt('1')
    return np.array(next(whole[:start] for start in range(len(whole)) if whole[start:start + len(plain)] == plain), np.int32)


def encode(known: seqio.Vocabulary, text: tf.Tensor) -> tf.Tensor:
    """The ids (int32) of a scalar text by our tokenizer, which takes half the time of TensorFlow Text's operation."""
    def ids(text) -> np.ndarray:
        plain = text if isinstance(text, bytes) else text.item()     # an array where TensorFlow runs eagerly
        return np.array(_tokenizer(known).encode(plain.decode()), np.int32)
    return tf.ensure_shape(tf.numpy_function(ids, [text], tf.int32), [None])


def encode_with_offsets(known: seqio.Vocabulary, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """ids (int32) of a scalar text, and the bytes at which each token starts and ends."""
    if isinstance(known, TokenizerJson):
        found = tf.numpy_function(known.encode_with_offsets, [text], [tf.int32, tf.int64, tf.int64])
        return tuple(tf.ensure_shape(one, [None]) for one in found)
    return known.tf_tokenizer.tokenize_with_offsets(text)


class TokenizerJson(seqio.Vocabulary):
    """A tokenizer.json. Ids are those of `mathrl.text.tokenizer`, nothing added."""

    def __init__(self, path: str):
        self.path = path
        super().__init__(extra_ids=0)

    @property
    def bos_id(self) -> int | None:
        return load(self.path).bos_id

    @property
    def eos_id(self) -> int:
        return load(self.path).eos_id

    @property
    def unk_id(self) -> None:
        return None

    @property
    def _base_vocab_size(self) -> int:
        return load(self.path).vocab_size

    def _encode(self, s: str) -> Sequence[int]:
        return load(self.path).encode(s)

    def _decode(self, ids) -> str:
        return load(self.path).decode(ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        return encode(self, s)

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(lambda found: self._decode(found.tolist()).encode(), [ids], tf.string)

    def encode_with_offsets(self, text: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As the function of that name. The library counts characters; here they are bytes."""
        decoded = text.decode()
        ids, spans = load(self.path).encode_with_offsets(decoded)
        places = np.cumsum([0, *(len(character.encode()) for character in decoded)])
        starts, ends = places[np.array(spans, np.int64).reshape(-1, 2)].T
        return np.array(ids, np.int32), starts, ends

    def __eq__(self, other) -> bool:
        return isinstance(other, TokenizerJson) and self.path == other.path
