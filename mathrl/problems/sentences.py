"""Answers without a box: the sentence that gives the answer, and the formula in that sentence; English and Chinese."""
import re

from mathrl.problems.numerals import to_digits

_END = r'(?=\s*(?:\.(?:\s|$)|。|\n\s*\n|\n(?=(?-i:[A-Z#【]))|<eo[ae]>|<\||【|$))'
_MARKED = (
    re.compile(r'【答案】[\s:：]*(?![\s:：<【])(.+?)(?=<eo[ae]>|【|<\||$)', re.DOTALL),
    re.compile(r'####[ \t]*(.+)'),
    re.compile(rf'\banswers?(?:\s+(?:to|for|of)\s[^.\n]{{1,80}})?\s*(?:is|are|:|=)+\s*(?:therefore|thus|the)?\s*:?\**'
               rf'\s*(.+?){_END}', re.IGNORECASE | re.DOTALL),
    re.compile(rf'(?:正确选项|答案|结果)\s*(?:应)?(?:选择|选|是|为|：|:)+\s*:?\s*(.+?){_END}', re.DOTALL),
    re.compile(rf'(?:^|\n)\s*答\s*[：:]\s*(.+?){_END}', re.DOTALL),
    re.compile(r'^A: *(.+)', re.MULTILINE),
)
_CHOSEN = (re.compile(rf'选择?\s*[:：]?\s*((?:选项)?[(（$\s]*[A-HＡ-Ｈ](?![a-zA-Z]).*?){_END}', re.DOTALL),)
_NO_ANSWER = re.compile(r'no (?:real |integer |such |valid )?(?:solution|answer|value|number)s?\b'
                        r'|(?:cannot|can\'t|could not)(?: be)? (?:find|found|determine|solve|calculate|compute)'
                        r'|cannot be|can\'t be|not possible|impossible|(?:not |un)solvable|not well-defined|undefined'
                        r'|does not exist|无解|无法|不存在|信息不足|没有(?:给出|正确|答案|解)'
                        r'|题目.{0,4}(?:有误|错误)|不正确|可能(?:有误|存在)', re.IGNORECASE)
_MATH = re.compile(r'\$\$(.+?)\$\$|(?<!\\)\$([^$\n]+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]', re.DOTALL)
_TURN = re.compile(r'(?:得到|解得|可得|得出|求得|等于|只能为|约为|应为|[是为得即]|：|\bis\b|\bare\b|\bequals\b|:)')
_NUMBER = re.compile(r'-?\s?(?:\\?\$\s?)?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:\s?/\s?[0-9]+)?(?:\s?\\?%)?'
                     r'|-?\.[0-9]+')
_ABOUT = re.compile(r'^(?:approximately|about|exactly|roughly|simply|just|大?约(?:为|是)?)\s*', re.IGNORECASE)
_REMARK = re.compile(r'(?<=.)\s*[(（](?=[^()（）]*[\u4e00-\u9fff])[^()（）]*[)）]\W*$')
_HAN = re.compile('[\u4e00-\u9fff]')
_KNOWN_HAN = re.compile('[和或与及且元角分时天日周月年米克个厘千公斤里吨升平立方度小]|百分之|分钟')
MAX_TAIL = 4000     # an answer is looked for in the last characters of an output
LAST_LINES = 3      # where a number that no sentence calls the answer may stand
_PROGRAM = re.compile(r'```(?:python|py)[ \t]*\n.*?(?:```|\Z)', re.DOTALL)
_RESULT = re.compile(r'```output[ \t]*\n(.*?)(?:```|\Z)', re.DOTALL)
_FAILED = re.compile(r'^(?:Traceback \(most recent|[\w.]*(?:Error|Exception)\b)', re.MULTILINE)
_CALCULATED = re.compile('<<[^<>\n]*=[^<>\n]*>>')      # GSM8K's notation, which closes with a line for the answer
_CUT_OFF = re.compile(r'[A-Za-z,;:=+*/\\({<&-]\s*$')
_VALUE_OF = re.compile(r'(?:=|\\approx|≈)[\s$\\{]*$')


def answer_sentence(output: str, choice: bool = False) -> str | None:
    """What the last answer sentence gives: 'So the answer is 42.' -> '42'; '【答案】B<eoa>' -> 'B'; 'A: 5' -> '5'.

    choice: a letter is wanted, so that '故选D' gives the answer.
    """
    text = output[-MAX_TAIL:]
    for patterns in (_MARKED[:2], _MARKED[2:4] + _CHOSEN * choice, _MARKED[4:5], _MARKED[5:]):
        found = [match for pattern in patterns for match in pattern.finditer(text)]
        if found:
            return max(found, key=lambda match: match.start(1))[1].strip(' *\n:：')
    return None


def says_no_answer(sentence: str) -> bool:
    """'there is no solution', '题目信息不足，无法得出答案'."""
    return bool(_NO_ANSWER.search(sentence))


def begins_with_number(sentence: str) -> bool:
    """'$6$, since x cannot be 5'."""
    return bool(re.match(r'[\s$*(\\-]*[0-9]', sentence))


def formula_in(sentence: str) -> str:
    """The formula that a sentence ends in: '解方程得到n=8' -> 'n=8'; 'the area is $5$' -> '$5$'; else the sentence."""
    sentence = _REMARK.sub('', _ABOUT.sub('', sentence.strip()))
    foreign = _HAN.search(_KNOWN_HAN.sub('', sentence)) or re.search(r'(?<![\\a-zA-Z{])[a-z]{2,} [a-z]{2,}', sentence)
    if not foreign:
        return sentence
    turns = list(_TURN.finditer(sentence))
    tail = sentence[turns[-1].end():].strip(' 。.，,') if turns else ''
    if tail and not _HAN.search(_KNOWN_HAN.sub('', tail)) and re.search('[0-9a-zA-Z\\\\]', tail):
        return tail
    formulas = [next(filter(None, match.groups())) for match in _MATH.finditer(sentence)]
    return formulas[-1] if formulas else sentence


def number_in(sentence: str) -> str | None:
    """The number that a sentence gives: its first one in English ('18, since 3*6=18'), its last one in Chinese."""
    found = _NUMBER.findall(to_digits(sentence))
    return found[-1 if _HAN.search(sentence) else 0].strip() if found else None


def after_programs(output: str) -> str:
    """What an output says without its programs, from its last program's result on; an exception is no result.

    'print(3)\\n```output\\n3\\n```\\nSo 3.' -> '3\\n\\nSo 3.'
    """
    results = list(_RESULT.finditer(output))
    if results:
        last = results[-1]
        output = ('' if _FAILED.search(last[1]) else last[1]) + '\n' + output[last.end():]
    return _PROGRAM.sub('\n', output)


def last_number(text: str) -> str | None:
    """The last number of an output's last lines: 'He has 5 + 3 = 8 pens.' -> '8'.

    Of an output that is cut off, only one that a formula comes to: 'it is = 8. So the' -> '8', 'of the 8 pens' -> None.
    """
    lines = [line for line in text[-MAX_TAIL:].split('\n') if line.strip()][-LAST_LINES:]
    ending = to_digits('\n'.join(lines))
    found = list(_NUMBER.finditer(ending))
    if not found:
        return None
    cut_off = _CUT_OFF.search(ending) or _CALCULATED.search(text)
    return None if cut_off and not _VALUE_OF.search(ending[:found[-1].start()]) else found[-1][0].strip()


def last_formula(text: str) -> str | None:
    """The last formula between $...$, \\(...\\) or \\[...\\]; else the last line."""
    formulas = [next(filter(None, match.groups())) for match in _MATH.finditer(text[-MAX_TAIL:])]
    if formulas:
        return formulas[-1]
    lines = text[-MAX_TAIL:].split('\n')
    return next((line.strip() for line in reversed(lines) if line.strip()), None)
