"""The mined corpus as a TFDS data set: what `mine` wrote, prepared once and read by tfds.load from then on.

  import tensorflow_datasets as tfds
  from mathrl.data import tfds_corpus
  tfds.load('mined_corpus', split='train', data_dir='tfds', builder_kwargs={'corpus': 'runs/mine/corpus'})

Once it is prepared, tasks read it as paths=['tfds:mined_corpus:train'] (with TFDS_DATA_DIR where it lies elsewhere).
"""
import os
from collections.abc import Iterator

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')   # before the import: it greets at length otherwise
import tensorflow as tf
import tensorflow_datasets as tfds

from mathrl.data import files

TEXTS = ('url', 'text', 'language', 'snapshot', 'record_id', 'date')


class MinedCorpus(tfds.core.GeneratorBasedBuilder):
    """corpus: the folder `corpus` of a mining run; it is needed to prepare the data, not to read it."""

    VERSION = tfds.core.Version('1.0.0')
    RELEASE_NOTES = {'1.0.0': 'url, text, score, language, round, snapshot, record_id, date of each page.'}

    def __init__(self, *, corpus: str = '', **kwargs):
        self._corpus = corpus
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = dict.fromkeys(TEXTS, tfds.features.Text()) | {'score': tf.float32, 'round': tf.int32}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features),
                                              description='Web pages on mathematics, mined out of Common Crawl.')

    def _split_generators(self, dl_manager) -> dict:
        if not self._corpus:
            raise ValueError('mined_corpus is not prepared yet: builder_kwargs={"corpus": the folder that `mine` wrote} '
                             'was wanted')
        found = files.find([self._corpus])
        files.check(found)
        return {'train': self._generate_examples(found)}

    def _generate_examples(self, found: list[str]) -> Iterator[tuple[str, dict]]:
        for number, file in enumerate(found):
            for place, (where, row) in enumerate(files.rows(file)):
                missing = [name for name in ('url', 'text', 'score') if name not in row]
                if missing:
                    raise ValueError(f'{where}: field {missing[0]!r} is missing; it has: {", ".join(row) or "no fields"}')
                yield f'{number:05d}-{place:09d}', {name: str(row.get(name) or '') for name in TEXTS} | {
                    'score': float(row['score'] or 0), 'round': int(row.get('round') or 0)}
