"""Our own worked examples as Python programs (program of thought); the last line printed is the answer."""
from mathrl.problems.exemplars import Exemplar

GSM8K = (
    Exemplar('A bakery sells muffins in boxes of 6. On Monday it sold 14 boxes and 5 single muffins. How many muffins did '
             'it sell?', '''\
boxes = 14
muffins_per_box = 6
single_muffins = 5
muffins = boxes * muffins_per_box + single_muffins
print(muffins)''', '89'),
    Exemplar('Nadia has 75 euros. She buys two books for 18 euros each and a pen for 4 euros. How much money is left?', '''\
money = 75
spent = 2 * 18 + 4
left = money - spent
print(left)''', '35'),
    Exemplar('A train covers 240 kilometers in 3 hours. At the same speed, how many kilometers does it cover in 5 hours?', '''\
speed = 240 / 3
distance = speed * 5
print(distance)''', '400'),
    Exemplar('There are 48 chairs in a hall. Three quarters of them are taken when 7 more guests arrive and sit down. How '
             'many chairs are still free?', '''\
chairs = 48
taken = chairs * 3 // 4
taken += 7
print(chairs - taken)''', '5'),
    Exemplar('Ravi is 4 years older than Mei, and Mei is twice as old as Tom. Tom is 9. How old is Ravi?', '''\
tom = 9
mei = 2 * tom
ravi = mei + 4
print(ravi)''', '22'),
    Exemplar('A jacket that costs $80 is sold at 15% off. A customer pays with a $100 bill. How many dollars does she get '
             'back?', '''\
price = 80
discount = price * 15 / 100
change = 100 - (price - discount)
print(change)''', '32'),
    Exemplar('A gardener plants 5 rows of 12 tulips and 3 rows of 9 roses. A storm ruins one third of the roses. How many '
             'flowers remain?', '''\
tulips = 5 * 12
roses = 3 * 9
roses -= roses // 3
print(tulips + roses)''', '78'),
    Exemplar('A pool holds 900 liters. One tap fills it at 40 liters a minute while a leak loses 10 liters a minute. How many '
             'minutes does it take to fill the empty pool?', '''\
volume = 900
gain_per_minute = 40 - 10
minutes = volume / gain_per_minute
print(minutes)''', '30'),
)

MATH = (
    Exemplar('Find the sum of all real $x$ with $|2x-3|=7$.', '''\
from sympy import Abs, Eq, solve, symbols

x = symbols('x', real=True)
solutions = solve(Eq(Abs(2 * x - 3), 7), x)
print(sum(solutions))''', '3'),
    Exemplar('A fair die is rolled twice. What is the probability that the second roll is larger than the first?', '''\
from fractions import Fraction

rolls = [(first, second) for first in range(1, 7) for second in range(1, 7)]
larger = [pair for pair in rolls if pair[1] > pair[0]]
print(Fraction(len(larger), len(rolls)))''', '\\frac{5}{12}'),
    Exemplar('How many positive integers below $1000$ are divisible by $7$ and leave remainder $3$ when divided by $5$?', '''\
count = 0
for n in range(1, 1000):
    if n % 7 == 0 and n % 5 == 3:
        count += 1
print(count)''', '28'),
    Exemplar('What is the area enclosed between the parabola $y=x^2$ and the line $y=x+2$?', '''\
from sympy import integrate, solve, symbols

x = symbols('x')
left, right = sorted(solve(x**2 - (x + 2), x))
print(integrate(x + 2 - x**2, (x, left, right)))''', '\\frac{9}{2}'),
)
