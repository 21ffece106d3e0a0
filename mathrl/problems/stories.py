"""Everyday wordings for arithmetic in English and Chinese, in few words: 512 pieces of vocabulary cover them.

In a story {a} {b} {c} {d} are the operands in the order of the expression, {n} and {m} two people, {t} a
thing and {k} its Chinese measure word.
"""
NAMES = {
    'en': ('Tom', 'Ann', 'Sam', 'Mia', 'Ben', 'Lily'),
    'zh': ('小明', '小红', '小刚', '小丽', '小华', '小兰'),
}
THINGS = {
    'en': (('', 'pens'), ('', 'apples'), ('', 'books'), ('', 'cards'), ('', 'cups'), ('', 'eggs')),
    'zh': (('支', '铅笔'), ('个', '苹果'), ('本', '书'), ('张', '卡片'), ('个', '杯子'), ('个', '鸡蛋')),
}
STORIES = {
    'a+b': {
        'en': ('{n} has {a} {t} and buys {b} more. How many {t} does {n} have?',
               'There are {a} {t} in a box. {n} puts in {b} more. How many {t} are in the box?',
               '{n} has {a} {t}. {m} has {b} {t}. How many {t} do they have?',
               '{n} sells {a} {t} on Monday and {b} on Tuesday. How many {t} in all?'),
        'zh': ('{n}有{a}{k}{t}，又买了{b}{k}。{n}现在有多少{k}{t}？',
               '盒子里有{a}{k}{t}，{n}又放进{b}{k}。盒子里现在有多少{k}{t}？',
               '{n}有{a}{k}{t}，{m}有{b}{k}{t}。他们一共有多少{k}{t}？',
               '{n}周一卖了{a}{k}{t}，周二卖了{b}{k}。一共卖了多少{k}{t}？'),
    },
    'a-b': {
        'en': ('{n} has {a} {t} and gives away {b}. How many {t} are left?',
               'There are {a} {t} in a box. {n} takes out {b}. How many {t} are in the box?',
               '{n} has {a} {t}. {m} has {b} fewer. How many {t} does {m} have?',
               '{n} needs {a} {t} and has {b}. How many more {t} does {n} need?'),
        'zh': ('{n}有{a}{k}{t}，送走了{b}{k}。还剩多少{k}{t}？',
               '盒子里有{a}{k}{t}，{n}拿走{b}{k}。盒子里现在有多少{k}{t}？',
               '{n}有{a}{k}{t}，{m}比{n}少{b}{k}。{m}有多少{k}{t}？',
               '{n}要{a}{k}{t}，现在有{b}{k}。还要买多少{k}{t}？'),
    },
    'a+b-c': {
        'en': ('{n} has {a} {t}, buys {b} more and gives away {c}. How many {t} are left?',
               'There are {a} {t} in a box. {n} puts in {b} and takes out {c}. How many {t} are in the box?',
               '{n} has {a} {t} and {m} has {b}. They sell {c}. How many {t} are left?'),
        'zh': ('{n}有{a}{k}{t}，又买了{b}{k}，送走了{c}{k}。还剩多少{k}{t}？',
               '盒子里有{a}{k}{t}，{n}放进{b}{k}，拿走{c}{k}。盒子里现在有多少{k}{t}？',
               '{n}有{a}{k}{t}，{m}有{b}{k}，一共卖了{c}{k}。还剩多少{k}{t}？'),
    },
    'a*b+c': {
        'en': ('{n} has {a} bags of {b} {t} and buys {c} more. How many {t} does {n} have?',
               'There are {a} boxes of {b} {t}. {n} has {c} more. How many {t} in all?',
               '{n} buys {a} bags of {b} {t}. {m} has {c} {t}. How many {t} do they have?'),
        'zh': ('{n}有{a}袋{t}，每袋{b}{k}，又买了{c}{k}。{n}现在有多少{k}{t}？',
               '有{a}盒{t}，每盒{b}{k}，{n}又放进{c}{k}。一共有多少{k}{t}？',
               '{n}买了{a}袋{t}，每袋{b}{k}，{m}有{c}{k}。他们一共有多少{k}{t}？'),
    },
    'a+b+c-d': {
        'en': ('{n} has {a} {t}, buys {b} and then {c} more, and gives away {d}. How many {t} are left?',
               'There are {a} {t} in a box. {n} puts in {b}, {m} puts in {c}. They take out {d}. '
               'How many {t} are in the box?'),
        'zh': ('{n}有{a}{k}{t}，先买了{b}{k}，又买了{c}{k}，送走了{d}{k}。还剩多少{k}{t}？',
               '盒子里有{a}{k}{t}，{n}放进{b}{k}，{m}放进{c}{k}，拿走{d}{k}。盒子里现在有多少{k}{t}？'),
    },
    'a*b+c-d': {
        'en': ('{n} has {a} bags of {b} {t}, buys {c} more and gives away {d}. How many {t} are left?',
               'There are {a} boxes of {b} {t}. {n} puts in {c} and takes out {d}. How many {t} are left?'),
        'zh': ('{n}有{a}袋{t}，每袋{b}{k}，又买了{c}{k}，送走了{d}{k}。还剩多少{k}{t}？',
               '有{a}盒{t}，每盒{b}{k}，{n}又放进{c}{k}，拿走{d}{k}。还剩多少{k}{t}？'),
    },
}
