"""mathrl/metrics.py: means inside jit, the metrics file over kills and resumes, the progress line."""

import io
import json
import math
import subprocess
import sys
import time

from etils import epath
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathrl import metrics
from mathrl.metrics import Mean, Progress, Writer, read_metrics


def test_mean_in_jit_and_scan_equals_numpy_average():
    rng = np.random.default_rng(0)
    values_NB, weights_NB = rng.normal(size=(5, 7)), rng.integers(0, 3, size=(5, 7))

    @jax.jit
    def mean(values_NB, weights_NB):
        add = lambda state, row: (state.add(*row), None)
        return jax.lax.scan(add, Mean.empty(), (values_NB, weights_NB))[0].compute()

    wanted = np.average(values_NB, weights=weights_NB)
    assert float(mean(jnp.asarray(values_NB), jnp.asarray(weights_NB))) == pytest.approx(wanted, rel=1e-5)


def test_mean_merges_as_if_added_at_once():
    left, right = Mean.empty().add([1.0, 2.0], [1.0, 0.0]), Mean.empty().add([5.0], 3.0)
    assert float(left.merge(right).compute()) == pytest.approx((1 + 15) / 4)


def test_mean_leaves_out_what_has_no_weight():
    assert float(Mean.empty().add([math.nan, 2.0], [0.0, 1.0]).compute()) == 2.0
    assert math.isnan(float(Mean.empty().compute()))
    assert math.isnan(float(jax.jit(lambda: Mean.empty().add([1.0], 0.0).compute())()))


def test_mean_is_a_pytree():
    doubled = jax.tree.map(lambda x: 2 * x, Mean(1.0, 4.0))
    assert doubled == Mean(2.0, 8.0)


def write(workdir, steps, resume_step=0):
    with Writer(workdir, resume_step) as writer:
        for step in steps:
            writer.write(step, {'loss': jnp.float32(1 / (step + 1)), 'rate': 0.5})


def test_values_come_back_as_written(tmp_path):
    values = {'loss': jnp.float32(0.1), 'up': math.inf, 'down': -math.inf, 'nan': np.nan, 'n': np.int32(3)}
    with Writer(tmp_path) as writer:
        writer.write(7, values)
    line = (tmp_path / 'metrics.jsonl').read_text()
    fail = lambda name: pytest.fail(f'{name} is not JSON')
    assert json.loads(line, parse_constant=fail)['nan'] == 'NaN'
    [read] = read_metrics(tmp_path / 'metrics.jsonl')
    assert math.isnan(read.pop('nan'))
    assert read == {'step': 7, 'loss': float(np.float32(0.1)), 'up': math.inf, 'down': -math.inf, 'n': 3.0}


def test_resumed_file_equals_uninterrupted_one(tmp_path):
    write(tmp_path / 'whole', range(10))
    write(tmp_path / 'killed', range(8))  # was killed at step 8; the last checkpoint is from before step 5
    with open(tmp_path / 'killed' / 'metrics.jsonl', 'a') as file:
        file.write('{"step": 8, "lo')
    write(tmp_path / 'killed', range(5, 10), resume_step=5)
    whole, killed = (tmp_path / name / 'metrics.jsonl' for name in ('whole', 'killed'))
    assert killed.read_bytes() == whole.read_bytes()


def test_resume_after_a_lost_newline(tmp_path):
    write(tmp_path, range(3))
    path = tmp_path / 'metrics.jsonl'
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    write(tmp_path, [], resume_step=3)
    assert path.read_bytes() == whole


def test_new_run_starts_an_empty_file(tmp_path):
    write(tmp_path, range(3))
    write(tmp_path, range(2))
    assert [line['step'] for line in read_metrics(tmp_path / 'metrics.jsonl')] == [0, 1]


def test_half_written_line_is_left_out_but_a_bad_one_is_named(tmp_path):
    path = tmp_path / 'metrics.jsonl'
    path.write_text('{"step": 0, "loss": 1.0}\n{"step": 1, "l')
    assert read_metrics(path) == [{'step': 0, 'loss': 1.0}]
    path.write_text('{"step": 0, "l\n{"step": 1, "loss": 1.0}\n')
    with pytest.raises(ValueError, match='metrics.jsonl line 1 '):
        read_metrics(path)
    for bad in ('[1]\n', '{"loss": 1.0}\n', '{"step": 0, "loss": {}}\n', 'null\n'):
        path.write_text(bad)
        with pytest.raises(ValueError, match='metrics.jsonl line 1 '):
            read_metrics(path)


def test_metric_that_is_not_one_number_is_refused(tmp_path):
    with Writer(tmp_path) as writer, pytest.raises(ValueError, match=r"'loss' has shape \(2,\)"):
        writer.write(0, {'loss': np.zeros(2)})


def test_tensorboard_events_are_written_and_optional(tmp_path, monkeypatch, caplog):
    pytest.importorskip('tensorboardX')
    write(tmp_path / 'with', range(2))
    assert len(list((tmp_path / 'with').glob('events.out.tfevents.*'))) == 1
    monkeypatch.setitem(sys.modules, 'tensorboardX', None)
    write(tmp_path / 'without', range(2))
    assert [path.name for path in (tmp_path / 'without').iterdir()] == ['metrics.jsonl']
    assert caplog.text.count('tensorboardX') == 1


CONFIG = 'KL_COEF = 0.04\nSTEPS = 3\nMODEL = "a"\nROWS = [1, 2]\nPROGRAM = @rl.run\nrl.run.seed = 1\nGATHER = True\n'


def test_macros_of_a_config():
    assert metrics.macros(CONFIG) == {'KL_COEF': .04, 'STEPS': 3, 'MODEL': 'a', 'ROWS': '[1, 2]', 'GATHER': True}


def test_tensorboard_gets_the_config_and_its_macros_as_hyperparameters(tmp_path):
    pytest.importorskip('tensorboardX')
    from tensorboardX.proto import event_pb2, plugin_hparams_pb2
    with Writer(tmp_path) as writer:
        writer.describe(CONFIG, ('reward',))
    [path] = tmp_path.glob('events.out.tfevents.*')
    values, data = {}, path.read_bytes()
    while data:     # a record: its length, that one's checksum, the event, its checksum
        length = int.from_bytes(data[:8], 'little')
        for value in event_pb2.Event.FromString(data[12:12 + length]).summary.value:
            values[value.tag] = value
        data = data[16 + length:]
    assert CONFIG.splitlines()[0] in values['config/text_summary'].tensor.string_val[0].decode()
    read = lambda tag: plugin_hparams_pb2.HParamsPluginData.FromString(values[tag].metadata.plugin_data.content)
    found = read('_hparams_/session_start_info').session_start_info.hparams
    assert found['KL_COEF'].number_value == .04 and found['MODEL'].string_value == 'a' and found['GATHER'].bool_value
    assert [info.name.tag for info in read('_hparams_/experiment').experiment.metric_infos] == ['reward']


def test_only_process_0_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, 'process_index', lambda: 1)
    with Writer(tmp_path / 'run') as writer:
        writer.write(0, {'loss': 1.0})
        writer.write_text(0, 'sample', 'x')
    assert not (tmp_path / 'run').exists()


def test_object_store_gets_copies(tmp_path, monkeypatch):
    remote = tmp_path / 'store'
    remote.mkdir()
    monkeypatch.setattr(metrics, '_is_remote', lambda folder: True)
    monkeypatch.setattr(metrics, 'SYNC_SECONDS', 0)
    write(remote, range(4))
    with Writer(remote, resume_step=2) as writer:
        writer.write(2, {'loss': 9.0})
        assert [line['step'] for line in read_metrics(remote / 'metrics.jsonl')] == [0, 1, 2]
        local = writer._folder
    assert not local.exists()
    assert len(read_metrics(remote / 'metrics.jsonl')) == 3


def test_reading_metrics_needs_no_jax():
    code = 'import sys, mathrl.metrics; sys.exit("jax" in sys.modules or "tensorboardX" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=epath.Path(__file__).parents[1]).returncode == 0


class Terminal(io.StringIO):

    def isatty(self):
        return True


class Clock:

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def run_progress(stream, steps=100, seconds=0.1, **options):
    clock = Clock()
    with Progress('rl', total=steps, stream=stream, clock=clock, **options) as progress:
        for step in range(steps):
            clock.now += seconds
            progress.update(step + 1, {'reward': 0.25}, tokens=50)
    return stream


def test_plain_progress_comes_every_ten_seconds_and_at_the_end():
    lines = run_progress(io.StringIO(), steps=200, seconds=0.125).getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == 'rl 80/200 step  8 step/s  400 tokens/s  reward 0.25  0:10 elapsed, 0:15 left'
    assert lines[-1] == 'rl 200/200 step  8 step/s  400 tokens/s  reward 0.25  0:25 elapsed'


def test_slow_steps_are_told_in_seconds_a_step():
    assert '4 s/step' in run_progress(io.StringIO(), steps=5, seconds=4.0).getvalue()


def test_terminal_redraws_one_line_a_few_times_a_second(monkeypatch):
    monkeypatch.setenv('COLUMNS', '60')
    text = run_progress(Terminal(), steps=1000, seconds=0.01).getvalue()
    assert 10 <= text.count('\r') <= 10 * 5 + 1
    assert text.count('\n') == 1 and text.endswith('\n')
    assert max(len(line) for line in text.rstrip('\n').split('\r')) < 60
    assert 'left' in text  # metrics give way to the time left where the terminal is narrow


def test_progress_resumes_with_an_honest_rate():
    clock, stream = Clock(), io.StringIO()
    with Progress('sft', total=100, start=90, stream=stream, clock=clock) as progress:
        clock.now += 20
        progress.update(100)
    assert '0.5 step/s' in stream.getvalue() or '2 s/step' in stream.getvalue()


def test_progress_survives_closed_streams():
    for stream in (io.StringIO(), Terminal()):
        stream.close()
        run_progress(stream)
    stream = Terminal()
    with Progress('rl', 2, stream=stream) as progress:
        stream.close()
        time.sleep(metrics.REDRAW_SECONDS)
        progress.update(1)


def test_progress_survives_a_broken_pipe():
    code = ('import time\nfrom mathrl.metrics import Progress\n'
            'with Progress("x", 3) as progress:\n  input()\n  progress.update(1)\n')
    process = subprocess.Popen([sys.executable, '-c', code], cwd=epath.Path(__file__).parents[1], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stdin.write('\n')
    process.stdin.close()
    assert (process.wait(60), process.stderr.read()) == (0, '')


def test_disabled_progress_is_silent(capsys):
    with Progress('rl', 3, enabled=False) as progress:
        progress.update(3)
    assert capsys.readouterr().out == ''
