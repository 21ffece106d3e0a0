"""Grading one output: read the answer off it, compare it with the reference by the reference's type."""
from mathrl.problems import choices, extract, kinds, sentences
from mathrl.problems.equal import equal
from mathrl.problems.latex_tokens import TooLarge
from mathrl.problems.types import Verdict

# 'no answer': nothing could be read off the output; 'too large': what was read is beyond the bounds of size, so wrong.
REASONS = ('equal', 'different', 'no answer', 'too large')
EXTRACTIONS = ('answer', 'boxed')


def grade(output: str, reference: str, problem: str = '', extraction: str = 'answer') -> Verdict:
    """Verdict on a model's output, with one of REASONS; never raises, whatever the output holds.

    'It is \\boxed{42}.', '42' -> Verdict(True, '42', 'equal'). extraction='boxed', for rewards: an answer that is in
    no box is none; 'answer': the last box, else the answer sentence, else the last number, letter or formula, as the
    reference's type wants. The problem says whether order, percents or a base are asked for, and lists the options.
    """
    if extraction not in EXTRACTIONS:
        raise ValueError(f'unknown extraction {extraction!r}; there are: {", ".join(EXTRACTIONS)}')
    boxed_reference = extract.boxed(reference)
    reference = reference.strip() if boxed_reference is None else boxed_reference
    try:
        kind = kinds.kind(reference, problem)
    except TooLarge:
        kind = 'text'
    if extraction == 'boxed':
        extracted = extract.boxed(output)
    else:
        extracted = _answer(output, kind)
    if extracted is None:
        return Verdict(False, None, 'no answer')
    if kind == 'choice':
        return _verdict(choices.chosen(extracted) == choices.letters(reference), extracted)
    try:
        return _verdict(equal(extracted, reference, problem), extracted)
    except TooLarge:
        return Verdict(False, extracted, 'too large')


def grade_boxed(output: str, reference: str, problem: str = '') -> Verdict:
    """The grader of rewards: grade with extraction='boxed'."""
    return grade(output, reference, problem, extraction='boxed')


def _verdict(correct: bool, extracted: str) -> Verdict:
    return Verdict(correct, extracted, 'equal' if correct else 'different')


def _answer(output: str, kind: str) -> str | None:
    """By protocol: the last box, the answer sentence, then the last thing of the reference's type."""
    box = extract.lenient_boxed(output)
    output = sentences.after_programs(output)
    sentence = sentences.answer_sentence(output, choice=kind == 'choice')
    if kind == 'choice':
        return _choice(box, sentence, output)
    if box is not None:
        return box
    if sentence is not None:
        return _from_sentence(sentence, kind)
    if not output.strip() or sentences.says_no_answer(output.strip().split('\n')[-1]):
        return output.strip().split('\n')[-1] or None
    if kind == 'number':
        return sentences.last_number(output)
    return sentences.last_formula(output)


def _choice(box: str | None, sentence: str | None, output: str) -> str | None:
    for found in (box, sentence):
        if found is not None and choices.chosen(found) is not None:
            return found
    if box is not None or sentence is not None:
        return sentence if box is None else box
    last = output.strip().split('\n')[-1]
    return last if last and choices.chosen(last) is not None else None


def _from_sentence(sentence: str, kind: str) -> str:
    if kind == 'text' or (sentences.says_no_answer(sentence) and not sentences.begins_with_number(sentence)):
        return sentence
    found = sentences.formula_in(sentence)
    if kind == 'number' and kinds.is_prose(found):
        return sentences.number_in(found) or found
    return found
