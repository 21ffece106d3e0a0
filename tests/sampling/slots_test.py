"""Which output sits in which row: nobody twice, nobody forgotten, whatever ends when."""
import numpy as np
import pytest

from mathrl.sampling.slots import bucket, fresh, new_batch, units


@pytest.mark.parametrize('questions, outputs, parts, most, size', [
    (8, 4, 1, 32, 4), (8, 4, 8, 4, 4), (2, 4, 8, 8, 1), (2, 4, 4, 8, 2), (3, 2, 8, 6, 1), (3, 5, 4, 15, 1),
    (8, 4, 1, 3, 2), (8, 12, 8, 5, 4), (8, 5, 1, 4, 1)])
def test_questions_are_cut_until_every_part_has_work_and_room(questions, outputs, parts, most, size):
    found, outputs_each = units(questions, outputs, parts, most)
    assert outputs_each == size
    seen = [(unit.question, unit.first + output) for unit in found for output in range(size)]
    assert seen == [(question, output) for question in range(questions) for output in range(outputs)]


def test_few_sizes_and_none_too_large():
    sizes = [bucket(count) for count in range(1, 200)]
    assert all(count <= size <= 1.5 * count for count, size in enumerate(sizes, 1))
    assert sorted(set(sizes)) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]


@pytest.mark.parametrize('questions, outputs, parts, rows', [(8, 4, 1, 0), (8, 4, 2, 16), (40, 4, 2, 24),
                                                             (7, 3, 1, 5), (3, 4, 8, 0), (6, 4, 4, 8), (5, 6, 2, 9)])
def test_every_output_is_written_once_and_stays_where_its_cache_is(questions, outputs, parts, rows):
    """A pretended device holds in every row whose tokens it has; rows may move by `source` alone."""
    rng, batch = np.random.default_rng(0), new_batch(questions, outputs, parts, rows, smallest=2)
    holds, prompts, written = None, {}, []
    taken = batch.admit()
    for _ in range(1000):
        if not batch.alive():
            break
        if found := fresh(batch, taken):
            for number, (question, slot) in enumerate(zip(found[0], found[1].reshape(-1))):
                prompts[number // found[1].shape[1], slot] = question
        tables = batch.lay_out()
        if holds is not None and tables['source'] is not None:
            holds = np.take_along_axis(holds, tables['source'], axis=1)
        holds = np.full((parts, batch.rows), None) if holds is None else holds
        for p, part in enumerate(batch.parts):
            assert len({row.number for row in part.rows}) == len(part.rows) <= batch.rows <= max(batch.capacity, batch.smallest)
            assert not rows or batch.rows <= rows // parts
            for row in part.rows:
                assert prompts[p, row.slot] == row.unit.question and not tables['done'][p, row.number]
                assert row.length == 0 or holds[p, row.number] == row.place
                place = row.number if tables['place'] is None else tables['place'][p, row.number]
                assert place == row.slot * batch.size + row.output
                assert tables['row_PX'] is None or tables['row_PX'][p, place] == row.number
                holds[p, row.number], row.length = row.place, row.length + 4
            assert tables['done'][p].sum() == batch.rows - len(part.rows)
            ended = [row for row in part.rows if rng.random() < 0.4]
            written += [row.place for row in ended]
            part.give_up(ended)
        taken = batch.admit()
    assert sorted(written) == [(question, output) for question in range(questions) for output in range(outputs)]


def test_rows_stay_where_they_are_until_the_size_changes():
    batch = new_batch(8, 4, 1)
    batch.admit()
    assert batch.lay_out()['place'] is None and batch.rows == 32
    batch.parts[0].give_up(batch.parts[0].rows[:3])
    tables = batch.lay_out()
    assert batch.rows == 32 and tables['source'] is None and tables['place'] is None and tables['done'].sum() == 3
    batch.parts[0].give_up(batch.parts[0].rows[::2])
    tables = batch.lay_out()
    assert batch.rows == 16 and tables['source'][0, :3].tolist() == [4, 6, 8]
