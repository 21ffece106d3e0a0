"""Votes: equal answers share one, and nothing is compared that cannot decide."""
from mathrl.evaluation.scores import maj_at_k
from mathrl.evaluation.votes import add_votes
from mathrl.problems.verdict import grade


def vote(answer, *extracted):
    """The votes of outputs with these answers, and how many comparisons they took."""
    row = {'problem': 'q', 'answer': answer, 'outputs': [
        {'extracted': text, 'correct': text is not None and grade(f'\\boxed{{{text}}}', answer).correct} for text in extracted]}
    asked = []

    def grade_all(items):
        asked.extend(items)
        return [grade(*item) for item in items]
    add_votes([row], grade_all)
    return [output['vote'] for output in row['outputs']], len(asked), row['outputs']


def test_right_answers_vote_together_however_they_are_written():
    assert vote('\\frac12', '0.5', '\\frac{1}{2}', '3')[:2] == (['\\frac12', '\\frac12', '3'], 0)


def test_equal_wrong_answers_vote_together_where_that_can_decide():
    votes, asked, outputs = vote('7', '7', '7', '0.5', '\\frac12', '2/4', None, '3')
    assert votes == ['7', '7', '0.5', '0.5', '0.5', None, '3'] and asked == 6
    assert maj_at_k(votes, [output['correct'] for output in outputs], 7) == 0
    assert maj_at_k([output['extracted'] for output in outputs], [output['correct'] for output in outputs], 7) == 1


def test_nothing_is_compared_that_cannot_decide():
    assert vote('7', '1', '2', '3')[1] == 0
    assert vote('7', '7', '7', '2', '3')[1] == 1
    assert vote('7', '7', '7', '7', '2', '3')[1] == 0
    assert vote('7') == ([], 0, [])
