"""Terms of mathematics in several languages, as the concepts they stand for.

A classifier whose seeds are English cannot know that 定理 is a theorem. Here both words give the token of one
concept, so what is learned from one language counts in the others. The list decides nothing: whether a concept
speaks for mathematics (a lemma) or for little (a function, which programs have too) is learned from the crawl.
"""
import re

# concept: terms, lower-case; a Latin or Cyrillic term is one word, a Chinese, Japanese or Korean one a string.
CONCEPTS = {
    'theorem': 'theorem theorems satz théorème teorema теорема теоремы 定理 정리',
    'lemma': 'lemma lemmas lemme lema лемма 引理 補題 보조정리',
    'corollary': 'corollary corollaries korollar corollaire corolario следствие 推论 推論 따름정리',
    'proposition': 'proposition propositions proposición proposição предложение 命题 命題 명제',
    'proof': 'proof proofs prove proves proved proven proving beweis beweise démonstration preuve demostración '
             'demonstração dimostrazione доказательство 证明 證明 証明 증명',
    'definition': 'definition definitions defined define définition definición definição definizione определение '
                  '定义 定義 정의',
    'axiom': 'axiom axioms axiome axioma аксиома 公理 공리',
    'conjecture': 'conjecture conjectures vermutung conjetura гипотеза 猜想 予想 추측',
    'exercise': 'exercise exercises übung aufgabe aufgaben exercice exercices ejercicio exercício esercizio '
                'упражнение 习题 習題 练习题 問題 연습문제',
    'solution': 'solution solutions solve solves solved solving lösung solución solução soluzione решение '
                '求解 解答 解法 풀이',
    'calculate': 'calculate compute evaluate determine berechne berechnen calculer calcular вычислить '
                 '计算 計算 求出 求证 求證 계산',
    'equation': 'equation equations gleichung gleichungen équation équations ecuación equação equazione уравнение '
                'уравнения 方程 方程式 等式 방정식',
    'inequality': 'inequality inequalities ungleichung inégalité desigualdad неравенство 不等式 부등식',
    'formula': 'formula formulas formulae formel formeln formule fórmula формула 公式',
    'variable': 'variable variables variablen переменная 变量 變數 変数 변수',
    'function': 'function functions funktion funktionen fonction fonctions función função funzione функция функции '
                '函数 函數 関数 함수',
    'polynomial': 'polynomial polynomials polynom polynome polynôme polinomio многочлен 多项式 多項式 다항식',
    'derivative': 'derivative derivatives derivable differentiable differentiation ableitung dérivée derivada '
                  'derivata производная 导数 導數 微分 미분',
    'integral': 'integral integrals integration integrable intégrale integrale интеграл 积分 積分 적분',
    'limit': 'limit limits grenzwert limite límite предел 极限 極限 극한',
    'series': 'series summation reihe série serie ряд 级数 級數 求和 급수',
    'sequence': 'sequence sequences folge suite sucesión последовательность 数列 數列 序列 수열',
    'continuous': 'continuous continuity stetig continue continua непрерывная 连续函数 連續 連続 연속',
    'converge': 'converge converges convergence convergent divergent konvergenz konvergiert convergencia сходимость '
                '收敛 收斂 収束 수렴',
    'differential': 'differential differentials differentialgleichung différentielle diferencial дифференциал '
                    '微分方程 偏微分',
    'matrix': 'matrix matrices matrizen matriz матрица 矩阵 矩陣 行列 행렬',
    'vector': 'vector vectors vektor vektoren vecteur вектор 向量 矢量 ベクトル 벡터',
    'determinant': 'determinant determinants determinante déterminant определитель 行列式 행렬식',
    'eigenvalue': 'eigenvalue eigenvalues eigenvector eigenvectors eigenwert eigenvektor 特征值 特徵值 特征向量 固有値 고윳값',
    'linear': 'linear linearly linéaire lineal линейный 线性 線性 線形 선형',
    'space': 'subspace subspaces vektorraum 线性空间 向量空间 子空间 向量空間 ベクトル空間',
    'set': 'set sets subset subsets menge teilmenge ensemble conjunto подмножество 集合 子集 집합',
    'group': 'subgroup subgroups homomorphism isomorphism abelian gruppe 子群 同态 同构 阿贝尔 群论 群論',
    'ring': 'ideal ideals commutative ring rings 交换环 多项式环 理想 环论',
    'topology': 'topology topological compact homeomorphism topologie топология 拓扑 拓撲 位相 위상',
    'manifold': 'manifold manifolds mannigfaltigkeit variété многообразие 流形 多様体',
    'graph': 'vertex vertices edge edges graph graphs knoten kante 顶点 頂點 图论 圖論',
    'geometry': 'geometry geometric geometrie géométrie geometría геометрия 几何 幾何 기하',
    'triangle': 'triangle triangles dreieck triángulo triângulo triangolo треугольник 三角形 삼각형',
    'circle': 'circle circles radius diameter kreis cercle círculo окружность 圆心 半径 半徑 圓周',
    'angle': 'angle angles winkel ángulo ângulo угол 角度 夹角 直角 각도',
    'line': 'parallel perpendicular tangent bisector midpoint tangente 直线 直線 垂直 平行 切线 接線',
    'area': 'rectangle polygon quadrilateral parallelogram 面积 面積 体积 體積 周长 多边形 四边形',
    'integer': 'integer integers ganzzahl entier enteros целое 整数 整數 自然数 자연수 정수',
    'prime': 'prime primes primzahl primzahlen primo primos простое 素数 质数 質數 소수',
    'divisible': 'divisor divisors divisible divides modulo congruent teiler diviseur делится 整除 约数 因数 同余 倍数 約数',
    'fraction': 'fraction fractions numerator denominator bruch fracción дробь 分数 分數 分子 分母',
    'real': 'rational irrational reals complex reelle réel 实数 實數 有理数 无理数 复数 複素数 실수',
    'probability': 'probability probabilities wahrscheinlichkeit probabilité probabilidad вероятность 概率 機率 確率 확률',
    'random': 'random variance expectation zufallsvariable erwartungswert 随机变量 期望 方差 分布函数 確率変数',
    'combinatorics': 'permutation permutations combinations binomial factorial combinatorial 排列组合 组合数 阶乘 二项式',
    'algebra': 'algebra algebraic algebraisch algèbre álgebra алгебра 代数 代數 대수',
    'calculus': 'calculus analysis 微积分 微積分 数学分析 高等数学 미적분',
    'mathematics': 'mathematics mathematical mathematician maths math mathematik mathématiques matemáticas '
                   'matemática математика 数学 數學 수학',
    'number': 'number numbers digit digits zahl zahlen nombre número число 个数 数字',
    'equal': 'equals equal sum product quotient remainder summe produkt somme сумма 等于 等於 之和 乘积 余数',
    'suppose': 'suppose let assume hence therefore thus whence iff voraussetzung sei soit donc sea entonces '
               'пусть тогда 假设 假設 不妨设 所以 因此 因为 于是 从而 若且唯若 当且仅当 すなわち',
    'exist': 'exists exist unique uniqueness arbitrary existiert beliebig 存在 唯一 任意 对任意 ならば',
    'logarithm': 'logarithm logarithms log ln exponential exponent exponents 对数 對數 指数 指數 自然对数',
    'trigonometric': 'sine cosine sin cos tan trigonometric trigonometry 三角函数 正弦 余弦 正切 삼각함수',
    'root': 'root roots square squared sqrt quadratic cubic wurzel 平方根 平方 立方 二次 因式分解 配方',
}

EAST_ASIAN = '\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af'


def _is_east_asian(term: str) -> bool:
    return re.match(f'[{EAST_ASIAN}]', term) is not None


CONCEPT_OF_WORD = {term: concept for concept, terms in CONCEPTS.items() for term in terms.split()
                   if not _is_east_asian(term)}
CONCEPT_OF_STRING = {term: concept for concept, terms in CONCEPTS.items() for term in terms.split()
                     if _is_east_asian(term)}
# The longest first: 行列式 is a determinant, though 行列 is a matrix.
STRINGS = re.compile('|'.join(sorted(CONCEPT_OF_STRING, key=lambda term: (-len(term), term))))
