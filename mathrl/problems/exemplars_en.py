"""Our own worked examples in English, as many as the paper's protocols show: the published ones are not ours to copy."""
from mathrl.problems.exemplars import Exemplar

GSM8K = (
    Exemplar('A bakery sells muffins in boxes of 6. On Monday it sold 14 boxes and 5 single muffins. How many muffins did '
             'it sell?',
             'The boxes hold 14 * 6 = 84 muffins. Together with the single ones that makes 84 + 5 = 89.', '89'),
    Exemplar('Nadia has 75 euros. She buys two books for 18 euros each and a pen for 4 euros. How much money is left?',
             'The books cost 2 * 18 = 36 euros. With the pen she spends 36 + 4 = 40 euros. She is left with 75 - 40 = 35 '
             'euros.', '35'),
    Exemplar('A train covers 240 kilometers in 3 hours. At the same speed, how many kilometers does it cover in 5 hours?',
             'In one hour the train covers 240 / 3 = 80 kilometers. In 5 hours it covers 5 * 80 = 400 kilometers.', '400'),
    Exemplar('There are 48 chairs in a hall. Three quarters of them are taken when 7 more guests arrive and sit down. How '
             'many chairs are still free?',
             'At first 48 * 3 / 4 = 36 chairs are taken. After the guests sit down it is 36 + 7 = 43. So 48 - 43 = 5 '
             'chairs are free.', '5'),
    Exemplar('Ravi is 4 years older than Mei, and Mei is twice as old as Tom. Tom is 9. How old is Ravi?',
             'Mei is 2 * 9 = 18 years old. Ravi is 18 + 4 = 22 years old.', '22'),
    Exemplar('A jacket that costs $80 is sold at 15% off. A customer pays with a $100 bill. How many dollars does she get '
             'back?',
             'The discount is 80 * 15 / 100 = 12 dollars, so the jacket costs 80 - 12 = 68 dollars. She gets back '
             '100 - 68 = 32 dollars.', '32'),
    Exemplar('A gardener plants 5 rows of 12 tulips and 3 rows of 9 roses. A storm ruins one third of the roses. How many '
             'flowers remain?',
             'There are 5 * 12 = 60 tulips and 3 * 9 = 27 roses. The storm ruins 27 / 3 = 9 roses, which leaves '
             '27 - 9 = 18. In all 60 + 18 = 78 flowers remain.', '78'),
    Exemplar('Four friends share a taxi that costs $5 plus $2 for each mile. They ride 14 miles and pay equal parts of the '
             'fare. How many cents does each friend pay?',
             'The ride costs 14 * 2 = 28 dollars, and with the first 5 dollars it is 28 + 5 = 33 dollars. Each friend pays '
             '33 / 4 = 8.25 dollars, which is 825 cents.', '825'),
)

MATH = (
    Exemplar('Find the sum of all real $x$ with $|2x-3|=7$.',
             'Either $2x-3=7$, so that $x=5$, or $2x-3=-7$, so that $x=-2$. The sum of the two is $5+(-2)=3$.', '3'),
    Exemplar('Write $\\frac{3}{2-\\sqrt{3}}$ with a rational denominator, in simplest form.',
             'Multiply above and below by $2+\\sqrt{3}$. The denominator becomes $(2-\\sqrt{3})(2+\\sqrt{3})=4-3=1$, and the '
             'numerator $3(2+\\sqrt{3})=6+3\\sqrt{3}$.', '6+3\\sqrt{3}'),
    Exemplar('A fair die is rolled twice. What is the probability that the second roll is larger than the first?',
             'Of the $36$ equally likely pairs, $6$ have equal rolls. The other $30$ split evenly by symmetry, so $15$ have '
             'a larger second roll. The probability is $\\frac{15}{36}=\\frac{5}{12}$.', '\\frac{5}{12}'),
    Exemplar('For which values of $k$ does $x^2+kx+9=0$ have no real solution? Give your answer in interval notation.',
             'There is no real solution where the discriminant is negative: $k^2-36<0$, that is $k^2<36$. This holds '
             'between $-6$ and $6$.', '(-6,6)'),
)

OCW = (
    Exemplar('A mass of $0.50\\,\\mathrm{kg}$ hangs on a spring of constant $200\\,\\mathrm{N/m}$. What is the angular '
             'frequency of its oscillation, in radians per second?',
             'The angular frequency of a mass on a spring is $\\omega=\\sqrt{k/m}$. Here '
             '$\\omega=\\sqrt{200/0.50}=\\sqrt{400}=20$.', '20'),
    Exemplar('Solve $y^{\\prime}+3y=0$ with $y(0)=4$, and give $y(t)$.',
             'The equation is separable: $y^{\\prime}/y=-3$, so $\\ln y=-3t+C$ and $y=Ae^{-3t}$. From $y(0)=4$ it follows '
             'that $A=4$.', '4e^{-3t}'),
    Exemplar('A star emits most strongly at a wavelength of $290\\,\\mathrm{nm}$. Using Wien\'s constant '
             '$2.9\\times10^{-3}\\,\\mathrm{m\\,K}$, estimate its surface temperature in kelvin.',
             'By Wien\'s law $T=b/\\lambda$. With $\\lambda=2.9\\times10^{-7}$ m this is '
             '$T=2.9\\times10^{-3}/2.9\\times10^{-7}=10^{4}$.', '10000'),
    Exemplar('A solution has a hydrogen ion concentration of $1.0\\times10^{-5}$ mol per liter. It is diluted with water to '
             'ten times its volume. What is the pH afterwards?',
             'Ten times the volume means a tenth of the concentration: $1.0\\times10^{-6}$ mol per liter. The pH is '
             '$-\\log_{10}(1.0\\times10^{-6})=6$.', '6'),
)

SAT = (
    Exemplar('If $3x + 7 = 22$, what is the value of $6x - 1$?\n(A) 5\n(B) 14\n(C) 29\n(D) 30',
             'From $3x + 7 = 22$ we get $3x = 15$, hence $6x = 30$ and $6x - 1 = 29$.', '(C)'),
    Exemplar('A phone plan costs $d$ dollars a month plus 5 cents for each message. Which expression gives the cost in '
             'dollars of a month with $m$ messages?\n(A) $d + 0.05m$\n(B) $d + 5m$\n(C) $0.05(d + m)$\n(D) $5d + m$',
             'A message costs 5 cents, which is 0.05 dollars, so $m$ messages cost $0.05m$. With the fixed part the cost is '
             '$d + 0.05m$.', '(A)'),
    Exemplar('In the $xy$-plane, the line $y = 2x + b$ passes through the point $(3, 1)$. What is $b$?\n(A) $-7$\n(B) $-5$'
             '\n(C) $5$\n(D) $7$',
             'The point lies on the line, so $1 = 2 \\cdot 3 + b$. That gives $b = 1 - 6 = -5$.', '(B)'),
    Exemplar('The mean of five numbers is 12. Four of them are 8, 10, 13 and 15. What is the fifth?\n(A) 11\n(B) 12\n(C) 13'
             '\n(D) 14',
             'Five numbers of mean 12 sum to 60. The four known ones sum to 8 + 10 + 13 + 15 = 46. The fifth is '
             '60 - 46 = 14.', '(D)'),
)

MMLU_STEM = (
    Exemplar('Which of these numbers is prime?\n(A) 51\n(B) 57\n(C) 59\n(D) 63',
             '51 = 3 * 17, 57 = 3 * 19 and 63 = 7 * 9 are products. 59 has no divisor among 2, 3, 5 and 7, so it is prime.',
             '(C)'),
    Exemplar('A stone falls from rest for 2 seconds. Taking g = 10 m/s^2 and no air resistance, how far does it fall?\n'
             '(A) 10 m\n(B) 20 m\n(C) 30 m\n(D) 40 m',
             'The distance fallen from rest is g t^2 / 2. Here it is 10 * 4 / 2 = 20 m.', '(B)'),
    Exemplar('In which part of a plant cell does photosynthesis take place?\n(A) The mitochondrion\n(B) The nucleus\n'
             '(C) The vacuole\n(D) The chloroplast',
             'Photosynthesis needs chlorophyll, and chlorophyll lies in the membranes inside the chloroplast. The '
             'mitochondrion serves respiration, the nucleus holds the DNA, and the vacuole stores water.', '(D)'),
    Exemplar('What is the worst-case running time of binary search in a sorted array of n elements?\n(A) O(log n)\n(B) O(n)'
             '\n(C) O(n log n)\n(D) O(1)',
             'Each comparison halves the part of the array that is still in question, so about log2(n) comparisons are '
             'enough.', '(A)'),
)
