"""The models of gin/models have as many parameters as the published ones."""
import re

import pytest

from mathrl import main

# Of the files that Hugging Face serves; deepseek_1b3 is not published: that of its layers, plus two embeddings of 102,400.
PARAMETERS = {
    'deepseek_math_7b': 6_910_365_696,
    'deepseek_1b3': 1_346_471_936 + 2 * 2048 * (102_400 - 32_256),
    'llama2_7b': 6_738_415_616,
    'llama3_8b': 8_030_261_248,
    'llama3_3b': 3_212_749_824,
    'qwen2_5_1b5': 1_543_714_304,
    'qwen2_5_7b': 7_615_616_512,
    'qwen3_4b': 4_022_468_096,
    'qwen3_8b': 8_190_735_360,
}


@pytest.mark.parametrize('name', PARAMETERS)
def test_a_model_has_the_parameters_of_the_published_one(name, repository, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(repository)
    files = ['gin/runs/pretrain.gin', f'gin/models/{name}.gin']
    program, config = main.configure(files, ['DATA="data"', 'TOKENIZER="tokenizer.json"'])
    program(workdir=tmp_path, config=config, dry_run=True)
    count = re.search(r'([\d,]+) parameters on mesh', capsys.readouterr().out)[1]
    assert int(count.replace(',', '')) == PARAMETERS[name]


def test_every_large_model_is_counted(repository):
    files = {path.stem for path in (repository / 'gin' / 'models').glob('*.gin')}
    assert files - {'tiny'} <= set(PARAMETERS)
